"""What is decided about a deployment: whose it is, whether it is ready, how to create and delete it. Sends nothing."""
