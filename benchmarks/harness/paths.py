"""The project's folder, and the one for files of this machine only."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = ROOT / ".bench"
