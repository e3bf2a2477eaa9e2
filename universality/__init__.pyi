from .assessing.assess import assess as assess
from .commands.check import check as check
from .commands.compare import compare as compare
from .commands.export import export as export
from .commands.hunt import hunt as hunt
from .commands.leaderboard import leaderboard as leaderboard
from .commands.predict import predict as predict
from .commands.publish import publish as publish
from .commands.report import report as report
from .commands.run import run as run
from .commands.status import status as status
from .commands.worker import worker as worker
from .judge.resultset import ResultSet as ResultSet
from .replaying.replay import replay as replay
from .watching.watch import watch as watch

__version__: str
