from chat_router.models import ChatTable
from common.db.migrate import run_environment

run_environment(ChatTable.metadata)
