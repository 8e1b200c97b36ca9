"""Orders, payment reminders, memos and what is done to an order before it ships."""
