from common.db.migrate import run_environment
from tests.support.tally.service import TallyTable

run_environment(TallyTable.metadata)
