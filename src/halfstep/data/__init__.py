"""Who is row 17: tables, ids, `Ratings`."""
