"""The HTTP edge of aftersales."""

from aftersales.api import answers, cases, policies, refunds

ROUTERS = (cases.router, answers.router, refunds.router, policies.router)
