"""Networks that are trained against one another: generators and their critics."""
