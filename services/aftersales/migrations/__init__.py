"""Schema history of aftersales."""
