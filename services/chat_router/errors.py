"""What chat_router refuses, beyond the errors that all services share."""

from common.errors import Conflict, Forbidden


class ConversationClosed(Conflict):
    """Nothing more can happen in a closed conversation."""

    code = "conversation_closed"
    title = "会话已结束 / The conversation is closed"
    hint = "Open a new one: the buyer's next message does."


class NotYourConversation(Forbidden):
    """An agent may act only in conversations that are theirs."""

    code = "not_your_conversation"
    title = "不是您接待的会话 / Not your conversation"
    hint = "Ask for a transfer, or ask a supervisor."


class AlreadyRated(Conflict):
    """A conversation is rated once."""

    code = "already_rated"
    title = "该会话已评价 / Rated already"
    hint = "The first rating stands."


class NotServedYet(Conflict):
    """There is nothing to rate before somebody answered."""

    code = "not_served_yet"
    title = "尚未有客服接待 / Nobody has answered yet"
    hint = "Rate the conversation after it was answered."


class AgentNotThere(Conflict):
    """A transfer names an agent who cannot take it."""

    code = "agent_not_there"
    title = "目标客服不在线 / The agent is not there"
    hint = "Choose an agent who is online or suspended, or a group."
