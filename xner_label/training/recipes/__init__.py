"""How a CRF is made of gold and silver: a file for each recipe, and the rule that chooses among them."""
