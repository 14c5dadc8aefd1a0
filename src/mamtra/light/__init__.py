"""Speech without torch: the parts of a model as ONNX graphs, run by ONNX Runtime, with numpy around them."""
