"""What tests share: a harness around a service, and a small service made for testing the runtime."""
