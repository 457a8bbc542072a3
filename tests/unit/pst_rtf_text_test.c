/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "out_of_memory.h"
#include "pst/rtf_text.h"

#define R "\xef\xbf\xbd" /* U+FFFD */

struct bench {
    struct pst_charset charset;
    struct pst_rtf_reader *reader;
    struct mh_buf out;
};

static void bench_init(struct bench *b)
{
    pst_charset_init(&b->charset);
    b->reader = pst_rtf_reader_new(&b->charset);
    cr_assert(b->reader);
    b->out = (struct mh_buf)MH_BUF_INIT;
}

static void bench_done(struct bench *b)
{
    mh_buf_done(&b->out);
    pst_rtf_reader_free(b->reader);
    pst_charset_done(&b->charset);
}

/* In memory of exactly its size, so that a read behind it is seen. */
static struct pst_rtf_result say(struct bench *b, const char *rtf, size_t len)
{
    char *exact = malloc(len ? len : 1);
    cr_assert(exact);
    memcpy(exact, rtf, len);
    mh_buf_reset(&b->out);
    struct pst_rtf_result r = pst_rtf_text(b->reader, exact, len, &b->out);
    free(exact);
    return r;
}

/* --- sound bodies ----------------------------------------------------------------------------- */

struct body {
    const char *name, *rtf, *text;
};

static void expect_all(const struct body *bodies, size_t n, enum pst_rtf_kind kind)
{
    struct bench b;
    bench_init(&b);
    for (size_t i = 0; i < n; i++) {
        struct pst_rtf_result r = say(&b, bodies[i].rtf, strlen(bodies[i].rtf));
        cr_expect_str_eq(mh_buf_str(&b.out), bodies[i].text, "%s: \"%s\"", bodies[i].name,
                         mh_buf_str(&b.out));
        cr_expect_eq(r.kind, kind, "%s: kind %d", bodies[i].name, r.kind);
        cr_expect_eq(r.verdict.state, PST_OK, "%s: %d", bodies[i].name, r.verdict.why);
        cr_expect_eq(r.replaced, 0, "%s: %d replaced", bodies[i].name, (int)r.replaced);
    }
    bench_done(&b);
}

#define HTML "{\\rtf1\\ansi\\ansicpg1252\\fromhtml1 \\deff0"
#define FONTS                                                                                      \
    "{\\fonttbl{\\f0\\fswiss Arial;}{\\f1\\fmodern Courier New;}{\\f2\\fnil\\fcharset2 Symbol;}"   \
    "{\\f3\\fmodern\\fcharset0 Courier New;}{\\f4\\fswiss\\fcharset128 \\'82\\'6c\\'82\\'72;}"     \
    "{\\f5\\fswiss\\fcharset204{\\*\\falt Arial;}Arial Cyr;}{\\f6\\fnil\\fcharset134 SimSun;}"     \
    "{\\f7\\cpg1253 Greek;}{\\f8\\fnil\\fcharset1 Any;}}"

static const struct body html[] = {
    {"as Outlook writes it",
     HTML FONTS
     "\r\n{\\colortbl\\red0\\green0\\blue0;\\red5\\green99\\blue193;}\r\n"
     "{\\*\\generator Microsoft Exchange Server;}\r\n{\\*\\formatConverter converted from html;}"
     "\\viewkind5\\viewscale100\r\n{\\*\\htmltag64}\\uc1\\pard\\plain\\deftab360 "
     "\\f0\\fs24 \r\n{\\*\\htmltag19 <html>}\r\n{\\*\\htmltag34 <head>}\r\n"
     "{\\*\\htmltag161 <meta name=\"Generator\" content=\"x\">}\r\n{\\*\\htmltag41 </head>}\r\n"
     "{\\*\\htmltag50 <body lang=\"EN-US\">}\\htmlrtf \\lang1033 \\htmlrtf0 \r\n"
     "{\\*\\htmltag64 <p class=\"MsoNormal\">}\\htmlrtf {\\htmlrtf0 \r\n"
     "{\\*\\htmltag84 <b>}\\htmlrtf {\\b \\htmlrtf0 Dear all\r\n{\\*\\htmltag92 </b>}"
     "\\htmlrtf }\\htmlrtf0 ,\r\n{\\*\\htmltag244 <o:p>}{\\*\\htmltag252 </o:p>}"
     "\\htmlrtf\\par}\\htmlrtf0 \r\n\\htmlrtf \\par\r\n\\htmlrtf0 \r\n"
     "{\\*\\htmltag72 </p>}\r\n{\\*\\htmltag58 </body>}{\\*\\htmltag27 </html>}}\r\n",
     "<html><head><meta name=\"Generator\" content=\"x\"></head><body lang=\"EN-US\">"
     "<p class=\"MsoNormal\"><b>Dear all</b>,<o:p></o:p></p></body></html>"},
    {"the header's example",
     "{\\rtf1\\ansi\\ansicpg1251\\fromhtml1{\\fonttbl{\\f0\\fcharset204 Arial;}}\r\n"
     "{\\*\\htmltag64 <p>}\\htmlrtf \\f0\\b \\htmlrtf0 \\'cf\\'f0{\\*\\htmltag84 "
     "&nbsp;}\\'e9\\par}",
     "<p>Пр&nbsp;й\r\n"},
    {"line ends and tabulators within tags",
     HTML "{\\*\\htmltag241 <style>\\par <!--\\par\\tab a \\{x:y\\}\\line -->}\r\n{\\*\\htmltag249 "
          "</style>}}",
     "<style>\r\n<!--\r\n\ta {x:y}\r\n--></style>"},
    {"character references stand in tags",
     HTML "a{\\*\\htmltag84 &lt;}\\htmlrtf <\\htmlrtf0 b{\\*\\htmltag84 &nbsp;}\\htmlrtf \\'a0"
          "\\htmlrtf0 c}",
     "a&lt;b&nbsp;c"},
    {"\\htmlrtf ends with the group that began it", HTML "a{\\htmlrtf b}c{\\htmlrtf b{d}}e}",
     "ace"},
    {"fonts that \\htmlrtf chooses are chosen",
     "{\\rtf1\\ansi\\ansicpg1251\\fromhtml1{\\fonttbl{\\f0\\fcharset0 Arial;}{\\f1\\fcharset128 "
     "M;}}"
     "{\\*\\htmltag64 <p>}\\htmlrtf {\\f0\\b \\htmlrtf0 \\'cf{\\*\\htmltag84 "
     "&#\\'cf;}\\'f0\\htmlrtf }"
     "{\\f1\\htmlrtf0 \\'93\\htmlrtf {\\b\\htmlrtf0 \\'fa\\htmlrtf }\\htmlrtf0\\htmlrtf "
     "}\\htmlrtf0 "
     "\\'cf\\par}",
     "<p>Ï&#П;ð日П\r\n"},
    {"\\htmlrtf1 is \\htmlrtf", HTML "a\\htmlrtf1 b\\htmlrtf0 c}", "ac"},
    {"tags within \\htmlrtf belong to it", HTML "a\\htmlrtf {\\*\\htmltag64 <p>}\\htmlrtf0 b}",
     "ab"},
    {"\\mhtmltag is another one's", HTML "{\\*\\mhtmltag64 <a href=x>}{\\*\\htmltag64 <a href=y>}}",
     "<a href=y>"},
    {"numbers of paragraphs, pictures and fields are RTF's own",
     HTML
     "{\\pntext \\f2\\'b7\\tab}{\\*\\pn\\pnlvlblt}{\\listtext 1.\\tab}{\\pict\\wmetafile8 0102}"
     "{\\field{\\*\\fldinst HYPERLINK \"http://x\"}{\\fldrslt y}}}",
     "y"},
    {"the words that are characters",
     HTML "\\lquote a\\rquote\\ldblquote b\\rdblquote\\bullet\\endash\\emdash\\~\\_}",
     "‘a’“b”•–—\xc2\xa0\xc2\xad"},
    {"\\cell and \\page are RTF's own", HTML "a\\cell b\\row\\page c}", "abc"},
    {"\\v does not hide HTML", HTML "{\\v a}}", "a"},
    {"octets have the page of their font",
     HTML FONTS "\\f5\\'cf\\'f0{\\f7\\'e1}\\'e8{\\f3 \\'e4}\\plain\\'e4{\\f8\\'e4}}", "Прαиäää"},
    {"octets in tags have the document's page",
     "{\\rtf1\\ansi\\ansicpg1251\\fromhtml1\\deff3" FONTS
     "\\f3{\\*\\htmltag84 <a title=\"\\'cf\\'f0\">}\\'e4\\f0\\'e4}",
     "<a title=\"Пр\">äд"},
    {"Unicode and what stands for it",
     HTML "\\u1055?\\u1088\\'3f\\uc2\\u26085\\'93\\'fa{\\uc0\\u26412 }\\u-3\\\\\\\\\\uc1\\u8364?!}",
     "Пр日本" R "€!"},
    {"\\fromhtml is told late enough",
     "{\\rtf1\\ansi\\mac\\deff0\\deftab720\\uc1\\fbidis\\ansicpg1252\\fromhtml1 <\\'e4>}", "<ä>"},
};

static const struct body text[] = {
    {"as Outlook writes it",
     "{\\rtf1\\ansi\\ansicpg1252\\fromtext \\fbidis \\deff0{\\fonttbl\r\n{\\f0\\fswiss Arial;}\r\n"
     "{\\f1\\fmodern Courier New;}}\r\n{\\colortbl\\red0\\green0\\blue0;}\r\n\\uc1\\pard\\plain"
     "\\deftab360 \\f0\\fs20 Dear all,\\par\r\n\\par\r\n> quoted \\{\\\\\\}\\tab x\\par\r\n}",
     "Dear all,\r\n\r\n> quoted {\\}\tx\r\n"},
    {"the words that are characters",
     "{\\rtf1\\ansi\\fromtext\\lquote\\rquote\\ldblquote\\rdblquote\\bullet\\endash\\emdash\\~\\_"
     "\\line}",
     "‘’“”•–—\xc2\xa0\xc2\xad\r\n"},
    {"destinations are left out", "{\\rtf1\\fromtext a{\\*\\unknown b}{\\pntext c}{\\pict 00}d}",
     "ad"},
    {"\\htmltag is none in text", "{\\rtf1\\fromtext a{\\*\\htmltag64 <p>}b}", "ab"},
};

#define RTF "{\\rtf1\\ansi\\ansicpg1252\\deff0"

static const struct body converted[] = {
    {"nothing", "{\\rtf1}", ""},
    {"octets before and behind", " \r\n{\\rtf1 a}\r\n ", "a"},
    {"as Word writes it",
     RTF FONTS
     "{\\stylesheet{\\ql \\f0\\fs24 Normal;}{\\*\\cs10 Default;}}{\\info{\\title T}{\\author A}}"
     "{\\header H\\par}{\\*\\listtable{\\list x}}{\\*\\rsidtbl\\rsid1}\\paperw12240"
     "{\\*\\pnseclvl1\\pnucrm{\\pntxta .}}\\pard\\plain \\f0{\\b Dear} {\\i all},\\par\r\n"
     "{\\pict{\\*\\picprop{\\sp{\\sn x}{\\sv 1}}}\\pngblip 89504e470d0a}"
     "{\\*\\shppict{\\pict 89}}{\\nonshppict{\\pict 89}}bye\\par}",
     "Dear all,\r\nbye\r\n"},
    {"lists, tables, hidden text",
     RTF FONTS
     "{\\listtext\\f2 \\'b7\\tab}one\\par{\\pntext 2.\\tab}two\\par{\\v hidden}{\\v a\\v0 b\\v c"
     "\\plain d}\\par\\trowd a\\cell b\\cell\\row}",
     "•\tone\r\n2.\ttwo\r\nbd\r\na\tb\t\r\n"},
    {"marks of lists by their number",
     RTF FONTS "\\f2\\u-3913\\'b7\\u61607?{\\f2\\'a7\\'41\\'d8\\'fc}}", "•▪▪A➢✓"},
    {"line ends of every kind", RTF "a\\line b\\par c\\\r\nd\\\ne\\'0d\\'0af\\page g\\sect h}",
     "a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh"},
    {"links",
     RTF "{\\field{\\*\\fldinst HYPERLINK \"http://a.example/\"}{\\fldrslt here}} "
         "{\\field{\\*\\fldinst{\\cf1 HYPERLINK \"http://b.example/\" }}{\\fldrslt{\\ul "
         "http://b.example/}}} {\\field{\\*\\fldinst HYPERLINK mailto:x@example.org}{\\fldrslt "
         "x@example.org}} {\\field{\\*\\fldinst HYPERLINK \\\\l \"anchor:1\"}{\\fldrslt there}} "
         "{\\field{\\*\\fldinst  PAGE }{\\fldrslt 7}} {\\field{\\*\\fldinst HYPERLINK "
         "\"http://c.example/\"}}}",
     "here <http://a.example/> http://b.example/ x@example.org there 7 http://c.example/"},
    {"a field within a link",
     RTF "{\\field{\\*\\fldinst HYPERLINK \"http://a.example/\"}{\\fldrslt x {\\field{\\*\\fldinst "
         "HYPERLINK \"http://b.example/\"}{\\fldrslt 7}}}}}",
     "x 7 <http://a.example/>"},
    {"links within a field",
     RTF
     "{\\field{\\*\\fldinst TOC}{\\fldrslt x {\\field{\\*\\fldinst HYPERLINK "
     "\"http://b.example/\"}{\\fldrslt 7}} {\\field{\\*\\fldinst HYPERLINK \"http://c.example/\"}"
     "{\\fldrslt 8}}}}}",
     "x 7 <http://b.example/> 8 <http://c.example/>"},
    {"characters that no octet says",
     RTF "\\u-10179?\\u-8704?\\u128512?\\uc0\\u955\\u956 x\\emspace\\zwj\\-\\_}",
     "😀😀λμx\xe2\x80\x83\xe2\x80\x8d\xc2\xad‑"},
    {"what stands for a character is one",
     RTF "\\uc1\\u8211\\endash a\\u8211\\~b\\uc3\\u8211\\'2d-\\{c\\u8211\\bin3 {}}xyd}",
     "–a–b–c–d"},
    {"what stands for it ends with its group", RTF "{\\uc3\\u8211 -}ab{\\u8211}cd}", "–ab–cd"},
    {"what stands for it is missing", RTF "\\u955\\par\\u956\\u957}", "λ\r\nμν"},
    {"\\uc is the group's", RTF "{\\uc0\\u955{\\uc2\\u956 xy}\\u957 z}\\u958 z!}", "λμνzξ!"},
    {"Japanese in octets", RTF FONTS "\\f4\\'93\\'fa\\'96{\\f4{}\\'7b}\\'8c\\'ea}", "日本語"},
    {"Japanese, second octets as they stand", RTF FONTS "\\f4\\'83\\\\\\'95\\\\ \\'83A\\'93\\'fa}",
     "ソ表 ア日"},
    {"Japanese, commands within a character",
     RTF FONTS "\\f4\\'93\\b0\\fs20 \\'fa\\'96\r\n\\f4 \\'7b\\'8c{\\i\\f4\\'ea}}", "日本語"},
    {"Japanese, another font within a character",
     RTF FONTS "\\f4\\'93\\f3\\'fa\\'e4\\f4\\'96\\f0\\'7b\\f3 a}", "日ä本a"},
    {"Chinese in four octets", "{\\rtf1\\ansi\\ansicpg54936\\'810\\'897\\'c4\\'e3 1}", "Þ你 1"},
    {"UTF-8 in octets, whatever the font says",
     "{\\rtf1\\ansi\\ansicpg65001" FONTS "\\f3\\'e6\\'97\\'a5 a\\f0\\'c3\\b\\'a4}", "日 aä"},
    {"pages of other machines", "{\\rtf1\\mac\\'8a{\\pc\\'84}}", "ää"},
    {"\\ansi behind \\ansicpg", "{\\rtf1\\ansicpg1251\\ansi\\'e4}", "д"},
    {"\\ansicpg of a page that is none", "{\\rtf1\\ansi\\ansicpg0\\ansicpg4711\\'e4}", "ä"},
    {"\\deff chooses a font", "{\\rtf1\\ansi\\deff5" FONTS "\\'e4\\f3\\'e4\\plain\\'e4}", "дäд"},
    {"a font table without numbers",
     RTF "{\\fonttbl{\\fcharset204 A;}{\\f-1\\fcharset204 B;}}\\'e4}", "ä"},
    {"a tabulator behind a backslash", RTF "a\\\tb\tc}", "a\tb\tc"},
    {"fonts that the table does not have",
     RTF FONTS "\\f99\\'e4\\f-1\\'e4\\f99999\\'e4\\f2147483648\\'e4}", "ääää"},
    {"\\bin is no RTF", RTF "a{\\pict\\bin7 }}}\\'\\{}b{\\*\\x\\bin0 }\\bin-5 c}", "abc"},
    {"\\'hh in a destination that is left out", RTF "a{\\*\\x \\'7d\\}\\{ \\u123? {b}}c}", "ac"},
    {"a star in front of a word that we know", RTF "a{\\*\\b b}{\\*\\u955 c}{\\*\\par}d}", "ad"},
    {"a star alone", RTF "a{\\* b}{\\*{\\b c}}\\*\\*d}",
     "a b"
     "cd"},
    {"words of letters without end",
     RTF "a\\abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz1 b}",
     "ab"},
    {"numbers without end", RTF "\\fs99999999999999999999999999 a\\li-99999999999999999999 b}",
     "ab"},
    {"a minus that is none", RTF "\\b-a\\i- b}", "-a- b"},
    {"\\fromhtml that comes too late",
     RTF
     "\\deftab1\\deftab2\\deftab3\\deftab4\\deftab5\\deftab6\\deftab7\\fromhtml1 a{\\*\\htmltag64 "
     "<p>}}",
     "a"},
    {"\\fromhtml0", RTF "\\fromhtml0 a{\\*\\htmltag64 <p>}\\htmlrtf b}", "ab"},
    {"\\fromhtml within a group", RTF "{\\fromhtml1}a\\htmlrtf b}", "ab"},
    {"a destination of the outermost group", "{\\rtf1 a\\pict b\\info c}", "abc"},
    {"objects show what stands for them",
     RTF "{\\object\\objemb{\\*\\objclass W}{\\*\\objdata 0105}{\\result r{\\pict "
         "01}}}{\\objattph\\ }x}",
     "r"
     "x"},
};

Test(pst_rtf_text, html)
{
    expect_all(html, MH_ARRAY_LEN(html), PST_RTF_HTML);
}

Test(pst_rtf_text, text)
{
    expect_all(text, MH_ARRAY_LEN(text), PST_RTF_TEXT);
}

Test(pst_rtf_text, converted)
{
    expect_all(converted, MH_ARRAY_LEN(converted), PST_RTF_CONVERTED);
}

/* --- bodies that are not sound ---------------------------------------------------------------- */

static const struct {
    const char *name, *rtf;
    enum pst_state state;
    enum pst_why why;
    uint64_t replaced;
    const char *text;
} odd[] = {
    {"nothing", "", PST_LOST, PST_WHY_TYPE, 0, ""},
    {"text", "hello", PST_LOST, PST_WHY_TYPE, 0, ""},
    {"another group", "{\\urtf1 a}", PST_LOST, PST_WHY_TYPE, 0, ""},
    {"its last brace is missing", RTF "a{b}", PST_SUSPECT, PST_WHY_CUT, 0, "ab"},
    {"ends within a word", RTF "a\\pa", PST_SUSPECT, PST_WHY_CUT, 0, "a"},
    {"ends behind a backslash", RTF "a\\", PST_SUSPECT, PST_WHY_CUT, 0, "a"},
    {"ends within an octet", RTF "a\\'e", PST_SUSPECT, PST_WHY_CUT, 1, "a" R "e"},
    {"ends within a character", RTF FONTS "\\f4\\'93", PST_SUSPECT, PST_WHY_CUT, 1, R},
    {"ends within a pair", RTF "\\u-10179?", PST_SUSPECT, PST_WHY_CUT, 1, R},
    {"more behind it", RTF "a}}b{c}", PST_SUSPECT, PST_WHY_SIZE, 0, "a"},
    {"\\bin longer than what is left", RTF "a{\\pict\\bin100 xyz}b}", PST_SUSPECT, PST_WHY_CUT, 0,
     "a"},
    {"\\bin longer than anything", RTF "a{\\pict\\bin99999999999 xyz}b}", PST_SUSPECT, PST_WHY_CUT,
     0, "a"},
    {"\\bin with nothing left", RTF "a\\bin1", PST_SUSPECT, PST_WHY_CUT, 0, "a"},
    {"an octet that is none", RTF "a\\'zzb\\'4gc}", PST_OK, PST_WHY_NONE, 2, "a" R "zzb" R "4gc"},
    {"octets without a character", RTF "a\\'81\\'00b}", PST_OK, PST_WHY_NONE, 2, "a" R R "b"},
    {"Japanese, half of a character", RTF FONTS "\\f4\\'93\\par\\'fa}", PST_OK, PST_WHY_NONE, 2,
     R "\r\n" R},
    {"halves of pairs", RTF "\\u-10179?a\\u-8704?\\u-10179?\\u-10179?\\u-8704?b}", PST_OK,
     PST_WHY_NONE, 3, R "a" R R "😀b"},
    {"numbers that are no character", RTF "\\u0?\\u9999999?\\u-99999?\\u?a}", PST_OK, PST_WHY_NONE,
     3, R R R "?a"},
};

Test(pst_rtf_text, odd)
{
    struct bench b;
    bench_init(&b);
    for (size_t i = 0; i < MH_ARRAY_LEN(odd); i++) {
        struct pst_rtf_result r = say(&b, odd[i].rtf, strlen(odd[i].rtf));
        cr_expect_str_eq(mh_buf_str(&b.out), odd[i].text, "%s: \"%s\"", odd[i].name,
                         mh_buf_str(&b.out));
        cr_expect_eq(r.verdict.state, odd[i].state, "%s: %d", odd[i].name, r.verdict.state);
        cr_expect_eq(r.verdict.why, odd[i].why, "%s: %d", odd[i].name, r.verdict.why);
        cr_expect_eq(r.replaced, odd[i].replaced, "%s: %d", odd[i].name, (int)r.replaced);
    }
    bench_done(&b);
}

/* NUL among text is nothing, as in the padding that Outlook leaves. */
Test(pst_rtf_text, nul_octets)
{
    static const char rtf[] = "\0{\\rtf1 a\0b\\'e4\0\\par\0}\0\0";
    struct bench b;
    bench_init(&b);
    struct pst_rtf_result r = say(&b, rtf, sizeof rtf - 1);
    cr_expect_str_eq(mh_buf_str(&b.out), "abä\r\n");
    cr_expect_eq(r.verdict.state, PST_OK);
    bench_done(&b);
}

/* What is appended to stays, and goes back to what it was when there is nothing to append. */
Test(pst_rtf_text, appends)
{
    struct bench b;
    bench_init(&b);
    mh_buf_adds(&b.out, "kept ");
    struct pst_rtf_result r = pst_rtf_text(b.reader, "{\\rtf1 a}", 9, &b.out);
    cr_expect_eq(r.verdict.state, PST_OK);
    r = pst_rtf_text(b.reader, "a", 1, &b.out);
    cr_expect_eq(r.verdict.state, PST_LOST);
    r = pst_rtf_text(b.reader, NULL, 0, &b.out);
    cr_expect_eq(r.verdict.state, PST_LOST);
    cr_expect_str_eq(mh_buf_str(&b.out), "kept a");
    bench_done(&b);
}

/* --- every prefix, every body ----------------------------------------------------------------- */

static void expect_prefixes(struct bench *b, const char *name, const char *rtf)
{
    struct mh_buf whole = MH_BUF_INIT;
    size_t len = strlen(rtf);
    size_t body = (size_t)(strrchr(rtf, '}') - rtf);
    (void)say(b, rtf, len);
    mh_buf_adds(&whole, mh_buf_str(&b->out));
    for (size_t n = 0; n < len; n++) {
        struct pst_rtf_result r = say(b, rtf, n);
        if (n <= body)
            cr_expect_neq(r.verdict.state, PST_OK, "%s, %zu", name, n);
        cr_expect(mh_utf8_valid(mh_buf_str(&b->out), b->out.len), "%s, %zu", name, n);
        cr_expect_leq(b->out.len, 6 * n, "%s, %zu", name, n);
    }
    /* Whatever was cut off before leaves nothing behind. */
    (void)say(b, rtf, len);
    cr_expect_str_eq(mh_buf_str(&b->out), mh_buf_str(&whole), "%s", name);
    mh_buf_done(&whole);
}

Test(pst_rtf_text, every_prefix)
{
    struct bench b;
    bench_init(&b);
    for (size_t i = 0; i < MH_ARRAY_LEN(html); i++)
        expect_prefixes(&b, html[i].name, html[i].rtf);
    for (size_t i = 0; i < MH_ARRAY_LEN(text); i++)
        expect_prefixes(&b, text[i].name, text[i].rtf);
    for (size_t i = 0; i < MH_ARRAY_LEN(converted); i++)
        expect_prefixes(&b, converted[i].name, converted[i].rtf);
    bench_done(&b);
}

/* --- limits ----------------------------------------------------------------------------------- */

static const struct {
    int groups;
    enum pst_state state;
} nests[] = {{10, PST_OK},
             {PST_RTF_DEPTH_MAX - 1, PST_OK},
             {PST_RTF_DEPTH_MAX, PST_SUSPECT},
             {10000, PST_SUSPECT},
             {1000000, PST_SUSPECT}};

/* The text of all of them is there, in order, and what is behind them has its own font again. */
Test(pst_rtf_text, nested_groups)
{
    struct bench b;
    bench_init(&b);
    for (size_t i = 0; i < MH_ARRAY_LEN(nests); i++) {
        struct mh_buf rtf = MH_BUF_INIT;
        mh_buf_adds(&rtf, RTF FONTS "{\\f5");
        for (int k = 1; k < nests[i].groups; k++)
            mh_buf_adds(&rtf, "{");
        mh_buf_adds(&rtf, "\\'e4");
        for (int k = 1; k < nests[i].groups; k++)
            mh_buf_adds(&rtf, "}");
        mh_buf_adds(&rtf, "}\\'e4}");
        struct pst_rtf_result r = say(&b, rtf.data, rtf.len);
        cr_expect_str_eq(mh_buf_str(&b.out), "дä", "%d", nests[i].groups);
        cr_expect_eq(r.verdict.state, nests[i].state, "%d", nests[i].groups);
        cr_expect(r.verdict.state == PST_OK || r.verdict.why == PST_WHY_NESTING, "%d",
                  nests[i].groups);
        mh_buf_done(&rtf);
    }
    bench_done(&b);
}

/* A destination below the limit cannot hide what is around it. */
Test(pst_rtf_text, destinations_below_the_limit)
{
    struct bench b;
    struct mh_buf rtf = MH_BUF_INIT;
    bench_init(&b);
    mh_buf_adds(&rtf, RTF);
    for (int k = 0; k < 2000; k++)
        mh_buf_adds(&rtf, "{");
    mh_buf_adds(&rtf, "{\\pict}{\\field}");
    for (int k = 0; k < 2000; k++)
        mh_buf_adds(&rtf, "x}");
    mh_buf_adds(&rtf, "}");
    struct pst_rtf_result r = say(&b, rtf.data, rtf.len);
    cr_expect_eq(r.verdict.why, PST_WHY_NESTING);
    cr_expect_eq(b.out.len, 2000);
    mh_buf_done(&rtf);
    bench_done(&b);
}

/*
 * How an instruction goes on without end: in small pieces, in one, in octets that wait for their
 * page.
 */
static const char *const endless[] = {"x{}xxxxxxxx", "xxxxxxxxxxx", "\\'e4\\'e4\\'e4",
                                      "\\u228?\\u228?", "          "};

/* An instruction longer than any address is cut. */
Test(pst_rtf_text, long_links)
{
    struct bench b;
    bench_init(&b);
    for (size_t i = 0; i < MH_ARRAY_LEN(endless); i++) {
        struct mh_buf rtf = MH_BUF_INIT;
        mh_buf_adds(&rtf, RTF "{\\field{\\*\\fldinst HYPERLINK \"http://a/");
        for (int k = 0; k < 10000; k++)
            mh_buf_adds(&rtf, endless[i]);
        mh_buf_adds(&rtf, "\"}{\\fldrslt here}}}");
        struct pst_rtf_result r = say(&b, rtf.data, rtf.len);
        cr_expect_eq(r.verdict.state, PST_OK);
        cr_expect(mh_str_starts(mh_buf_str(&b.out), "here <http://a/"), "%s", endless[i]);
        cr_expect_gt(b.out.len, PST_RTF_LINK_MAX / 2, "%s", endless[i]);
        cr_expect_lt(b.out.len, 3 * PST_RTF_LINK_MAX, "%s", endless[i]);
        mh_buf_done(&rtf);
    }
    bench_done(&b);
}

Test(pst_rtf_text, without_memory)
{
    static const char rtf[] = RTF FONTS
        "\\f4\\'93\\'fa{\\field{\\*\\fldinst HYPERLINK \"http://a.example/\"}{\\fldrslt x}}}";
    struct pst_charset charset;
    pst_charset_init(&charset);
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_buf out = MH_BUF_INIT;
        struct pst_rtf_result r = {.verdict = {PST_LOST, PST_WHY_MEMORY, 0}};
        oom_begin(&o);
        struct pst_rtf_reader *reader = pst_rtf_reader_new(&charset);
        if (reader)
            r = pst_rtf_text(reader, rtf, sizeof rtf - 1, &out);
        oom_end(&o);
        cr_expect_eq(r.verdict.state, o.was_reached ? PST_LOST : PST_OK, "allocation %u", o.nth);
        cr_expect_eq(r.verdict.why, o.was_reached ? PST_WHY_MEMORY : PST_WHY_NONE);
        cr_expect_str_eq(mh_buf_str(&out), o.was_reached ? "" : "日x <http://a.example/>");
        pst_rtf_reader_free(reader);
        mh_buf_done(&out);
    }
    pst_charset_done(&charset);
}
