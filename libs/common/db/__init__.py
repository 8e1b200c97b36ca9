"""Storage on PostgreSQL or SQLite behind one set of models, statements and migrations."""
