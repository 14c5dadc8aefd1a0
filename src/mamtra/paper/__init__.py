"""The paper's tables and figures, computed or measured on a teacher of one's own."""
