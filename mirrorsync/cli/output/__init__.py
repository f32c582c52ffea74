"""What people and logs get to see."""
