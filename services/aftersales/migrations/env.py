from aftersales.models import AftersalesTable
from common.db.migrate import run_environment

run_environment(AftersalesTable.metadata)
