"""A search told to people and programs: CSV, JSON, pictures, and one self-contained page."""
