/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "profile.h"

#include <math.h>
#include <string.h>

enum {
    TAIL_COUNT = 12,        /* big messages in a run */
    TAIL_MIN_MESSAGES = 60, /* a run of fewer has no tail: one big message would be its mean */
};

/* The biggest message of a tail, as big as the usual limit of a mail server lets through. */
static const double tail_cap_bytes = 20e6;
/* What the biggest one may weigh of the whole run, so that the mean stays what was asked for. */
static const double tail_max_share = 0.045;
/* Shape of the bounded Pareto distribution between the smallest and the biggest. */
static const double tail_shape = 1.1;

static const struct mhc_profile profiles[] = {
    {.name = "small",
     .mailboxes = 1,
     .messages = 20000,
     .mean_bytes = 4096,
     .folders = 6,
     .inbox_part = 85,
     .sigma = 0.4},
    /* sigma: median 15.5 KiB at a mean of 25 KiB, as real mailboxes have. */
    {.name = "friday",
     .mailboxes = 30,
     .messages = 600,
     .mean_bytes = 25600,
     .folders = 14,
     .inbox_part = 32,
     .sigma = 0.87,
     .has_tail = true},
    {.name = "nasty", .mailboxes = 1, .mean_bytes = 6000, .sigma = 0.6, .is_nasty = true},
    {.name = "huge",
     .mailboxes = 1,
     .messages = 200000,
     .mean_bytes = 300,
     .folders = 1,
     .inbox_part = 100,
     .sigma = 0.12},
    {.name = "demo",
     .mailboxes = 30,
     .messages = 120,
     .mean_bytes = 16384,
     .folders = 10,
     .inbox_part = 40,
     .sigma = 0.9,
     .has_tail = true},
};

const struct mhc_profile *mhc_profile_find(const char *name)
{
    for (size_t i = 0; i < MHC_COUNT(profiles); i++) {
        if (strcmp(profiles[i].name, name) == 0) {
            return &profiles[i];
        }
    }
    return NULL;
}

/* The van der Corput sequence: any beginning of it is spread evenly over [0, 1). */
static double spread(uint64_t n)
{
    double result = 0;
    double step = 0.5;
    for (; n > 0; n >>= 1, step /= 2) {
        result += (n & 1) != 0 ? step : 0;
    }
    return result;
}

void mhc_size_plan_init(struct mhc_size_plan *plan_out, const struct mhc_profile *profile)
{
    uint64_t total = (uint64_t)profile->mailboxes * profile->messages;
    double mean = (double)profile->mean_bytes;
    double all_bytes = mean * (double)total;
    *plan_out = (struct mhc_size_plan){.body_mean_bytes = mean, .sigma = profile->sigma};
    if (!profile->has_tail || total < TAIL_MIN_MESSAGES) {
        return;
    }
    plan_out->tail_stride = total / TAIL_COUNT;
    plan_out->tail_max_bytes = fmin(tail_cap_bytes, all_bytes * tail_max_share);
    double tail_bytes = 0;
    for (uint64_t i = 0; i < TAIL_COUNT; i++) {
        uint64_t number = i * plan_out->tail_stride + plan_out->tail_stride / 2;
        tail_bytes += (double)mhc_size_of_tail(plan_out, number);
    }
    plan_out->body_mean_bytes = (all_bytes - tail_bytes) / (double)(total - TAIL_COUNT);
}

bool mhc_size_is_tail(const struct mhc_size_plan *plan, uint64_t number)
{
    return plan->tail_stride > 0 && number % plan->tail_stride == plan->tail_stride / 2 &&
           number / plan->tail_stride < TAIL_COUNT;
}

size_t mhc_size_of_tail(const struct mhc_size_plan *plan, uint64_t number)
{
    const double ratio = 20; /* between the biggest and the smallest */
    uint64_t which = number / plan->tail_stride;
    double u = which == 0 ? 1.0 : spread(which);
    double smallest = plan->tail_max_bytes / ratio;
    return (size_t)(smallest * pow(1.0 - u * (1.0 - pow(ratio, -tail_shape)), -1.0 / tail_shape));
}

size_t mhc_size_of_body(const struct mhc_size_plan *plan, double normal)
{
    double s = plan->sigma;
    double size = plan->body_mean_bytes * exp(s * normal - s * s / 2);
    return (size_t)fmin(size, plan->tail_max_bytes > 0 ? plan->tail_max_bytes : tail_cap_bytes);
}
