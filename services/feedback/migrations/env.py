from common.db.migrate import run_environment
from feedback.models import FeedbackTable

run_environment(FeedbackTable.metadata)
