from common.db.migrate import run_environment
from order_ops.models import OrderOpsTable

run_environment(OrderOpsTable.metadata)
