"""What people see of an evaluation: tables, plots, pictures, one page of HTML."""
