"""What a layer plan costs: parameters, FLOPs, memory.

The public name, `plan`, is exported by the package itself: here it would hide the module of that name.
"""
