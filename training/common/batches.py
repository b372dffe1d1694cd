"""Batches of conversations of similar length."""


def by_length(items, tokens, order):
    """Groups of about `tokens` tokens, padding counted, in random order. An item begins with its token ids."""
    groups, group = [], []
    for item in sorted(items, key=lambda item: len(item[0])):
        if group and len(item[0]) * (len(group) + 1) > tokens:
            groups.append(group)
            group = []
        group.append(item)
    groups.append(group)
    order.shuffle(groups)
    return groups
