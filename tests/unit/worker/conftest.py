import sys
from pathlib import Path

# Test modules of this folder share a driver that no other folder needs.
sys.path.append(str(Path(__file__).parent))
