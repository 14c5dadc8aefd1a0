"""What a layer plan costs: parameters, FLOPs, memory, and the paper's tables and figures about them."""
