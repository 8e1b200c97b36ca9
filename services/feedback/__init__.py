"""What buyers say, tagged and handed to the people who can fix it."""
