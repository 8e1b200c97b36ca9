"""The HTTP edge of order_ops."""
