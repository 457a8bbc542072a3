/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How far away a store is: round trips, and one wire each way that all its sessions share, first come,
 * first served. It is counted in microseconds although clocks have milliseconds, so that a thousand short
 * messages take as long as one long one.
 */
#include "base/task.h"
#include "connectors/mem/session.h"

static int wait_ms(int64_t ms, struct mh_err *err)
{
    if (ms > 0 && mh_sleep_until(mh_now_ms() + ms) != MH_OK)
        return mh_err_set(err, MH_ECANCEL, "mem", "stopped");
    return MH_OK;
}

int mem_ask(struct mh_session *s, unsigned round_trips, struct mh_err *err)
{
    mem_lock(s);
    s->store->stats.round_trips += round_trips;
    int64_t each_ms = s->store->options.round_trip_ms;
    mem_unlock(s);
    return wait_ms(each_ms * round_trips, err);
}

int mem_hear(struct mh_session *s, struct mh_err *err)
{
    mem_lock(s);
    int64_t each_ms = s->store->options.round_trip_ms;
    mem_unlock(s);
    return wait_ms(each_ms / 2, err);
}

static int64_t passing_us(const struct mh_session *s, uint64_t octets)
{
    const struct mh_mem_options *o = &s->store->options;
    double per_s = (double)o->wire_octets_per_s;
    if (s->caps.compressed)
        per_s += per_s * o->compress_gain_percent / 100;
    return (int64_t)((double)octets * 1e6 / per_s);
}

int mem_carry(struct mh_session *s, enum mem_way way, uint64_t octets, struct mh_err *err)
{
    int64_t until_us = 0;
    mem_lock(s);
    if (s->store->options.wire_octets_per_s) {
        int64_t *free_us = &s->store->wire_free_us[way];
        *free_us = MH_MAX(*free_us, mh_now_ms() * 1000) + passing_us(s, octets);
        until_us = *free_us;
    }
    mem_unlock(s);
    /* Rounded down: what is too early here is still taken on the wire for the next. */
    return until_us ? wait_ms(until_us / 1000 - mh_now_ms(), err) : MH_OK;
}
