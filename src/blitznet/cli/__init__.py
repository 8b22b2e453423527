"""The command line: one file per verb with a short handler; heavy imports are inside handlers."""

# Each import adds its verb to the program, in the order of `blitznet --help`.
from blitznet.cli import predict as predict  # isort: skip
from blitznet.cli import batch as batch  # isort: skip
from blitznet.cli import train as train  # isort: skip
from blitznet.cli import recipe as recipe  # isort: skip
from blitznet.cli import evaluate as evaluate  # isort: skip
from blitznet.cli import export as export  # isort: skip
from blitznet.cli import check_data as check_data  # isort: skip
from blitznet.cli import refine_masks as refine_masks  # isort: skip
from blitznet.cli import models as models  # isort: skip
from blitznet.cli import table as table  # isort: skip
from blitznet.cli import bench as bench  # isort: skip
from blitznet.cli import serve as serve  # isort: skip
from blitznet.cli.app import main as main  # isort: skip
