"""The decode stage: many beam searches side by side, each as exact as if it ran alone."""
