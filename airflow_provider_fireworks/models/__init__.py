"""What is decided about a model: whether it is ready at a precision, and how to get it prepared. Sends nothing."""
