"""The HTTP edge: items, reviews, spikes, tasks, taxonomy and policy."""

from feedback.api import items, policies, spikes, tasks

routers = (items.router, spikes.router, tasks.router, policies.router)
