"""Schema history of order_ops."""
