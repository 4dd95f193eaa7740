import sys
from pathlib import Path

# Test modules of this folder share a driver that is nobody else's business.
sys.path.append(str(Path(__file__).parent))
