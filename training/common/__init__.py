"""What the trained models share: the network, the vocabulary's machinery, the file format."""
