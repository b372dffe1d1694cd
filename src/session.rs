//! Joins the layers above; synchronous; one call runs to the next event (exchange, pause, output, end).
