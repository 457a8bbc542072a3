/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "text.h"

#include <string.h>

static const struct {
    const char *name;
    const char *local;
} people[] = {
    {"Anna Keller", "anna.keller"},
    {"Jürgen Weiß", "j.weiss"},
    {"Léa Dupré", "lea.dupre"},
    {"Marek Wójcik", "marek.wojcik"},
    {"Sofía Núñez", "sofia"},
    {"John Carter", "jcarter"},
    {"Priya Raman", "priya.raman"},
    {"佐藤 花子", "hanako.sato"},
    {"Иван Петров", "i.petrov"},
    {"王芳", "wang.fang"},
    {"김민수", "mskim"},
    {"Νίκος Παππάς", "nikos"},
    {"Aoife O'Brien", "aoife"},
    {"Çağla Yıldız", "cagla"},
    {"Þóra Jónsdóttir", "thora"},
    {"Lars Ångström", "lars"},
    {"Maria da Conceição", "maria.dc"},
    {"Bence Kovács", "bence.kovacs"},
    {"Dvořáková Petra", "petra"},
    {"Emma Wilson", "emma.wilson"},
    {"Noah Müller", "n.mueller"},
    {"Chloé Lefèvre", "chloe"},
    {"Ahmed Nasser", "a.nasser"},
    {"Ingrid Solberg", "ingrid"},
    {"Tom \"Ace\" Reed", "tom.reed"},
    {"Smith, Alice", "alice+lists"},
    {"Helpdesk", "helpdesk"},
    {"Accounts Payable", "ap"},
};
static const char *const domains[] = {
    "nordwind.example",    "acme.example",        "quincaillerie.example", "mail.initech.example",
    "example.org",         "stadtwerke.example",  "example.net",           "kaido.example",
    "uni-altberg.example", "lists.libre.example", "example.com",
};

const struct mhc_language *mhc_text_language(size_t index)
{
    return &mhc_languages[index % mhc_language_count];
}

const struct mhc_language *mhc_text_any_language(struct mhc_prng *prng)
{
    if (mhc_prng_chance(prng, 500)) {
        return &mhc_languages[0];
    }
    return &mhc_languages[1 + mhc_prng_below(prng, (uint32_t)mhc_language_count - 1)];
}

struct mhc_person mhc_text_person(struct mhc_prng *prng)
{
    uint32_t who = mhc_prng_below(prng, MHC_COUNT(people));
    uint32_t where = mhc_prng_below(prng, MHC_COUNT(domains));
    return (struct mhc_person){people[who].name, people[who].local, domains[where]};
}

const struct mhc_word *mhc_text_word(struct mhc_prng *prng, const struct mhc_language *language)
{
    return &language->words[mhc_prng_below(prng, (uint32_t)language->count)];
}

bool mhc_text_is_latin(const struct mhc_language *language)
{
    return strncmp(language->charset, "iso-8859-", 9) == 0 ||
           strcmp(language->charset, "windows-1252") == 0;
}

void mhc_text_lines(struct mhc_buf *buf, struct mhc_prng *prng, const struct mhc_language *language,
                    bool is_legacy, size_t want)
{
    const size_t line_bytes = 70; /* within the 78 of RFC 5322 section 2.1.1 after the next word */
    size_t end = buf->len + want;
    size_t line_start = buf->len;
    uint32_t left_in_sentence = 4 + mhc_prng_below(prng, 12);
    bool is_sentence_start = true;
    while (buf->len + 2 < end) {
        const struct mhc_word *word = mhc_text_word(prng, language);
        size_t at = buf->len;
        mhc_buf_puts(buf, is_legacy ? word->legacy : word->utf8);
        if (is_sentence_start && buf->data[at] >= 'a' && buf->data[at] <= 'z') {
            buf->data[at] = (char)(buf->data[at] - 'a' + 'A');
        }
        is_sentence_start = false;
        bool is_paragraph_end = false;
        if (--left_in_sentence == 0) {
            mhc_buf_puts(buf, is_legacy ? language->stop.legacy : language->stop.utf8);
            left_in_sentence = 4 + mhc_prng_below(prng, 12);
            is_sentence_start = true;
            is_paragraph_end = mhc_prng_chance(prng, 120);
        }
        if (buf->len - line_start >= line_bytes || is_paragraph_end) {
            mhc_buf_puts(buf, is_paragraph_end ? "\r\n\r\n" : "\r\n");
            line_start = buf->len;
        } else {
            mhc_buf_puts(buf, language->space);
        }
    }
    if (buf->len != line_start) {
        mhc_buf_puts(buf, "\r\n");
    }
}
