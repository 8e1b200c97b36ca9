"""`kefu dev`: all four services in one process, on embedded parts, behind one port."""
