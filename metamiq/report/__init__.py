"""From answers to what people read: tables, JSON, one HTML page."""
