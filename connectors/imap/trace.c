/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --trace: the dialogue's lines. What literals and quoted bodies hold is left out, and all
 * challenges of a login. */
#include <string.h>

#include "connectors/imap/imap_priv.h"

/* What of one response the trace keeps. */
enum { TRACE_MAX_BYTES = 64 * 1024 };

/* The count of a literal's marker at the end of LINE; 0 when there is none. */
static uint64_t marker_octets(const char *line, size_t len)
{
    if (len < 3 || line[len - 1] != '}')
        return 0;
    size_t end = len - 1;
    if (line[end - 1] == '+')
        end--;
    size_t start = end;
    while (start > 0 && line[start - 1] >= '0' && line[start - 1] <= '9')
        start--;
    uint64_t n = 0;
    if (start == 0 || line[start - 1] != '{' ||
        !mh_parse_u64(line + start, end - start, INT64_MAX, &n))
        return 0;
    return n;
}

static void trace_lines(const struct mh_session *s, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        const char *lf = memchr(text + i, '\n', len - i);
        size_t end = lf ? (size_t)(lf - text) : len;
        size_t line = end - i;
        if (line > 0 && text[i + line - 1] == '\r')
            line--;
        if (line > 0)
            mh_trace(&s->log, '<', text + i, line);
        uint64_t skip = marker_octets(text + i, line);
        i = lf ? end + 1 : len;
        i = skip < len - i ? i + (size_t)skip : skip > 0 ? len : i;
    }
}

void imap_trace_before(struct mh_session *s, const struct mh_slice *in,
                       struct imap_trace_mark *mark)
{
    (void)s;
    mark->slab = NULL;
    if (!mh_trace_enabled() || !in->slab)
        return;
    mh_slab_ref(in->slab);
    *mark = (struct imap_trace_mark){in->slab, in->off, in->len};
}

static void flush(struct mh_session *s, const struct mh_resp_event *ev)
{
    const char *text = mh_buf_str(&s->trace);
    size_t len = s->trace.len;
    bool is_quoted_body =
        ev->type == MH_RESP_BODY_BEGIN && !(len >= 3 && memcmp(text + len - 3, "}\r\n", 3) == 0);
    if (is_quoted_body)
        trace_lines(s, "* FETCH (BODY[] \"***\"", 21);
    else if (ev->type == MH_RESP_CONTINUE && s->hides_plus)
        trace_lines(s, "+ ***", 5);
    else
        trace_lines(s, text, len);
    mh_buf_reset(&s->trace);
}

void imap_trace_after(struct mh_session *s, const struct mh_resp_event *ev,
                      const struct mh_slice *in, struct imap_trace_mark *mark)
{
    if (!mh_trace_enabled())
        return;
    uint32_t taken = mark->slab ? mark->len - in->len : 0;
    bool is_text = ev && ev->type != MH_RESP_BODY_DATA && ev->type != MH_RESP_BODY_END;
    /* MORE in the middle of a message's text has nothing to show; between the pieces of a line it
     * has. */
    if (is_text && taken > 0 && s->trace.len + taken <= TRACE_MAX_BYTES)
        mh_buf_add(&s->trace, mark->slab->data + mark->off, taken);
    if (mark->slab)
        mh_slab_unref(mark->slab);
    if (!ev)
        mh_buf_reset(&s->trace);
    else if (is_text && ev->type != MH_RESP_MORE)
        flush(s, ev);
}
