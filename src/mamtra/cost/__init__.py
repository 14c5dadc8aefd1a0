"""What a layer plan costs: parameters, FLOPs, memory."""
