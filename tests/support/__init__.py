"""What tests share: a harness around a service, and a small service that tests the runtime."""
