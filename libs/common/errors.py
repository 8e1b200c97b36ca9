"""The one hierarchy of errors that may reach a caller.

Use cases raise these; the HTTP edge turns each into a problem document (RFC 9457), the socket
edge into a refusal or a close code. Nothing here knows of either, so decisions may import it.

An error kind is a class with a stable `code`, the HTTP `status` it becomes, a `title` shown to
people (Chinese first) and a `hint` that says what to do next. A service adds its own kinds by
subclassing the nearest one here and giving it a `code` of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What the documentation says about one stable code."""

    code: str
    status: int
    title: str
    hint: str


_kinds: dict[str, ErrorKind] = {}


class KefuError(Exception):
    """Base of every error with a stable code.

    `detail` says what is wrong this time (English, for whoever calls the API; it never carries
    the caller's own input or personal data). `extra` adds members to the problem document.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "系统内部错误 / Internal error"
    hint: ClassVar[str] = "Retry later; report the request_id if it stays."

    def __init__(
        self,
        detail: str = "",
        *,
        hint: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.next_step = self.hint if hint is None else hint
        self.retry_after = retry_after
        """Seconds after which the same request may succeed; None when waiting does not help."""
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" in cls.__dict__:
            _register(cls)


def _register(cls: type[KefuError]) -> None:
    kind = ErrorKind(cls.code, cls.status, cls.title, cls.hint)
    known = _kinds.setdefault(kind.code, kind)
    if known != kind:
        raise TypeError(f"error code {kind.code!r} is taken by another kind of error")


def error_kinds() -> list[ErrorKind]:
    """Every stable code known so far, by status and code. The docs table is made from it."""
    return sorted(_kinds.values(), key=lambda kind: (kind.status, kind.code))


_register(KefuError)


class InvalidInput(KefuError):
    """Well-formed, but not what the operation accepts."""

    code = "invalid_input"
    status = 422
    title = "请求内容不符合要求 / Invalid input"
    hint = "Correct the fields listed in `errors` and send the request again."


class MalformedJson(InvalidInput):
    """The body is not JSON at all."""

    code = "malformed_json"
    status = 400
    title = "请求体不是合法的 JSON / Malformed JSON"
    hint = "Send one JSON value, encoded in UTF-8."


class InvalidCursor(InvalidInput):
    """A page cursor that this API did not hand out."""

    code = "invalid_cursor"
    status = 400
    title = "分页游标无效 / Invalid cursor"
    hint = "Pass `next_cursor` of the previous page unchanged, or leave the cursor out."


class BadRequest(KefuError):
    """The request cannot be understood."""

    code = "bad_request"
    status = 400
    title = "请求无法理解 / Bad request"
    hint = "Check the request against the API description."


class IdempotencyKeyMissing(BadRequest):
    """A POST that changes something came without its Idempotency-Key, or with a broken one."""

    code = "idempotency_key_missing"
    title = "缺少幂等键 / Idempotency-Key required"
    hint = "Send an Idempotency-Key header: 1 to 200 visible ASCII characters, new per intent."


class IdempotencyMismatch(InvalidInput):
    """An Idempotency-Key seen before, now with another request."""

    code = "idempotency_mismatch"
    title = "幂等键已用于另一请求 / Idempotency-Key reused"
    hint = "Use a new Idempotency-Key for a new request; repeat the old one byte for byte."


class Unauthorized(KefuError):
    """No token, or one that does not hold."""

    code = "unauthorized"
    status = 401
    title = "未登录或登录已失效 / Not signed in"
    hint = "Send a valid token: `Authorization: Bearer …`."


class TokenExpired(Unauthorized):
    """A token that was good once."""

    code = "token_expired"
    title = "登录已过期 / Token expired"
    hint = "Get a new token and send the request again."


class Forbidden(KefuError):
    """The caller is known, and may not do this."""

    code = "forbidden"
    status = 403
    title = "没有权限 / Not allowed"
    hint = "Ask for a role that may do this; the API description lists them as x-roles."


class OtherShop(Forbidden):
    """A shop in the request that is not the token's. The same whether or not it exists."""

    code = "other_shop"
    title = "不属于本店铺 / Another shop"
    hint = "Leave shop_id out, or use a token of that shop."


class OriginNotAllowed(Forbidden):
    """A browser page of another site tried to use the cookie."""

    code = "origin_not_allowed"
    title = "来源不被允许 / Origin not allowed"
    hint = "Add the page's origin to KEFU_CORS_ORIGINS."


class NotFound(KefuError):
    """No such thing in the caller's shop."""

    code = "not_found"
    status = 404
    title = "没有找到 / Not found"
    hint = "Check the path and the identifiers."


class MethodNotAllowed(KefuError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405
    title = "不支持的方法 / Method not allowed"
    hint = "Use one of the methods in the Allow header."


class RequestTimeout(KefuError):
    """The body did not arrive in time."""

    code = "request_timeout"
    status = 408
    title = "请求接收超时 / Request timed out"
    hint = "Send the whole body at once."


class Conflict(KefuError):
    """The state of things does not allow this now."""

    code = "conflict"
    status = 409
    title = "当前状态不允许此操作 / Conflict with the current state"
    hint = "Read the resource again and decide anew."


class PreconditionFailed(KefuError):
    """If-Match names a version that is no longer current."""

    code = "precondition_failed"
    status = 412
    title = "内容已被他人修改 / Changed by someone else"
    hint = "Read the resource again and repeat the change with its new ETag."


class TooLarge(KefuError):
    """The body is larger than this API takes."""

    code = "too_large"
    status = 413
    title = "请求体过大 / Body too large"
    hint = "Send less at once; `max_bytes` is the limit."


class UnsupportedMediaType(KefuError):
    """A body that is not declared as JSON."""

    code = "unsupported_media_type"
    status = 415
    title = "不支持的内容类型 / Unsupported media type"
    hint = "Send `Content-Type: application/json`."


class PreconditionRequired(KefuError):
    """An update without If-Match."""

    code = "precondition_required"
    status = 428
    title = "缺少版本条件 / If-Match required"
    hint = "Send If-Match with the ETag of the version that you changed."


class RateLimited(KefuError):
    """More requests than the limit allows."""

    code = "rate_limited"
    status = 429
    title = "请求过于频繁 / Too many requests"
    hint = "Wait Retry-After seconds, then send the request again."


class Unavailable(KefuError):
    """A part that this needs is down or busy. Nothing was half done; a repeat is safe."""

    code = "unavailable"
    status = 503
    title = "服务暂时不可用 / Temporarily unavailable"
    hint = "Wait Retry-After seconds, then repeat the request with the same Idempotency-Key."

    def __init__(self, detail: str = "", *, retry_after: float = 2.0, **rest: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **rest)
