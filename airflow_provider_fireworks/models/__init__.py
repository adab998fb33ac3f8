"""What is decided about a model: whether it is ready at a precision, and how to prepare it. Does no I/O."""
