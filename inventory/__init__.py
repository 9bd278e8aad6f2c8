"""What the product is made of: its locked packages, what is known against them, and their bill of materials."""
