/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Attributes and small helpers every module uses. No code, no state; any thread.
 */
#ifndef MH_BASE_MACROS_H
#define MH_BASE_MACROS_H

#include <stddef.h>
#include <stdint.h>

#define MH_MUST_CHECK        __attribute__((warn_unused_result))
#define MH_NONNULL(...)      __attribute__((nonnull(__VA_ARGS__)))
#define MH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MH_NORETURN          __attribute__((noreturn))
#define MH_PURE              __attribute__((pure))

/* Runs FN on the variable's address when it leaves scope: MH_CLEANUP(mh_free_p) char *name = NULL; */
#define MH_CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands a pointer on and forgets it here, so that its cleanup does nothing: *out = mh_take(obj). */
#define mh_take(p)                                                                                 \
    __extension__({                                                                                \
        __typeof__(p) mh_taken_ = (p);                                                             \
        (p) = NULL;                                                                                \
        mh_taken_;                                                                                 \
    })

#define MH_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MH_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MH_MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The object of TYPE that holds MEMBER at address PTR. */
#define mh_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * The first index I from FIRST to END (behind the last) for which IS_BELOW, an expression in I, does
 * not hold; END: it holds for all. The range is sorted: those for which it holds come first.
 */
#define mh_lower_bound(i, first, end, is_below)                                                    \
    __extension__({                                                                                \
        size_t mh_lo_ = (first);                                                                   \
        size_t mh_hi_ = (end);                                                                     \
        while (mh_lo_ < mh_hi_) {                                                                  \
            const size_t i = mh_lo_ + (mh_hi_ - mh_lo_) / 2;                                       \
            const int mh_is_below_ = (is_below);                                                   \
            mh_lo_ = mh_is_below_ ? (i) + 1 : mh_lo_;                                              \
            mh_hi_ = mh_is_below_ ? mh_hi_ : (i);                                                  \
        }                                                                                          \
        mh_lo_;                                                                                    \
    })

/*
 * States a programmer error; stays on in release builds. Never for what a server, a file or a person
 * can send: those are errors with a text.
 */
#define mh_assert(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            mh_assert_failed(#cond, __FILE__, __LINE__);                                           \
    } while (0)

MH_NORETURN void mh_assert_failed(const char *cond, const char *file, int line);

#endif
