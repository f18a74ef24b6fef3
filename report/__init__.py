"""Records to tables, pictures and one page."""
