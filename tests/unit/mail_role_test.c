/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "mail/folder.h"
#include "mail/role_priv.h"

/* As people see them in their clients. */
static const struct {
    const char *name;
    enum mh_role role;
} guesses[] = {
    {"Sent", MH_ROLE_SENT},
    {"SENT", MH_ROLE_SENT},
    {"Sent Items", MH_ROLE_SENT},
    {"sent-mail", MH_ROLE_SENT},
    {"Sent_Items", MH_ROLE_SENT},
    {"Sent\xc2\xa0Items", MH_ROLE_SENT},
    {"Gesendet", MH_ROLE_SENT},
    {"Gesendete Elemente", MH_ROLE_SENT},
    {"Éléments envoyés", MH_ROLE_SENT},
    {"ÉLÉMENTS ENVOYÉS", MH_ROLE_SENT},
    {"Elementos enviados", MH_ROLE_SENT},
    {"Posta inviata", MH_ROLE_SENT},
    {"Itens Enviados", MH_ROLE_SENT},
    {"Verzonden items", MH_ROLE_SENT},
    {"Skickat", MH_ROLE_SENT},
    {"Sendte elementer", MH_ROLE_SENT},
    {"Lähetetyt", MH_ROLE_SENT},
    {"LÄHETETYT", MH_ROLE_SENT},
    {"Elementy wysłane", MH_ROLE_SENT},
    {"ELEMENTY WYSŁANE", MH_ROLE_SENT},
    {"Odeslaná pošta", MH_ROLE_SENT},
    {"Elküldött elemek", MH_ROLE_SENT},
    {"Elemente trimise", MH_ROLE_SENT},
    {"Gönderilmiş Öğeler", MH_ROLE_SENT},
    {"Отправленные", MH_ROLE_SENT},
    {"ОТПРАВЛЕННЫЕ", MH_ROLE_SENT},
    {"Надіслані", MH_ROLE_SENT},
    {"Απεσταλμένα", MH_ROLE_SENT},
    {"送信済みアイテム", MH_ROLE_SENT},
    {"已发送邮件", MH_ROLE_SENT},
    {"寄件備份", MH_ROLE_SENT},
    {"보낸 편지함", MH_ROLE_SENT},
    {"العناصر المرسلة", MH_ROLE_SENT},
    {"פריטים שנשלחו", MH_ROLE_SENT},
    {"Drafts", MH_ROLE_DRAFTS},
    {"Entwürfe", MH_ROLE_DRAFTS},
    {"ENTWÜRFE", MH_ROLE_DRAFTS},
    {"Brouillons", MH_ROLE_DRAFTS},
    {"Borradores", MH_ROLE_DRAFTS},
    {"Bozze", MH_ROLE_DRAFTS},
    {"Rascunhos", MH_ROLE_DRAFTS},
    {"Concepten", MH_ROLE_DRAFTS},
    {"Utkast", MH_ROLE_DRAFTS},
    {"Kladder", MH_ROLE_DRAFTS},
    {"Luonnokset", MH_ROLE_DRAFTS},
    {"Kopie robocze", MH_ROLE_DRAFTS},
    {"Koncepty", MH_ROLE_DRAFTS},
    {"Piszkozatok", MH_ROLE_DRAFTS},
    {"Ciorne", MH_ROLE_DRAFTS},
    {"Taslaklar", MH_ROLE_DRAFTS},
    {"Черновики", MH_ROLE_DRAFTS},
    {"Чернетки", MH_ROLE_DRAFTS},
    {"Πρόχειρα", MH_ROLE_DRAFTS},
    {"下書き", MH_ROLE_DRAFTS},
    {"草稿箱", MH_ROLE_DRAFTS},
    {"草稿匣", MH_ROLE_DRAFTS},
    {"임시 보관함", MH_ROLE_DRAFTS},
    {"المسودات", MH_ROLE_DRAFTS},
    {"טיוטות", MH_ROLE_DRAFTS},
    {"Trash", MH_ROLE_TRASH},
    {"Deleted Items", MH_ROLE_TRASH},
    {"Papierkorb", MH_ROLE_TRASH},
    {"Gelöschte Elemente", MH_ROLE_TRASH},
    {"Corbeille", MH_ROLE_TRASH},
    {"Éléments supprimés", MH_ROLE_TRASH},
    {"Papelera", MH_ROLE_TRASH},
    {"Cestino", MH_ROLE_TRASH},
    {"Lixeira", MH_ROLE_TRASH},
    {"Lixo", MH_ROLE_TRASH},
    {"Prullenbak", MH_ROLE_TRASH},
    {"Papperskorgen", MH_ROLE_TRASH},
    {"Slettet post", MH_ROLE_TRASH},
    {"Roskakori", MH_ROLE_TRASH},
    {"Kosz", MH_ROLE_TRASH},
    {"Koš", MH_ROLE_TRASH},
    {"KOŠ", MH_ROLE_TRASH},
    {"Lomtár", MH_ROLE_TRASH},
    {"Coș de gunoi", MH_ROLE_TRASH},
    {"Çöp Kutusu", MH_ROLE_TRASH},
    {"ÇÖP KUTUSU", MH_ROLE_TRASH},
    {"Корзина", MH_ROLE_TRASH},
    {"Удалённые", MH_ROLE_TRASH},
    {"Кошик", MH_ROLE_TRASH},
    {"Κάδος", MH_ROLE_TRASH},
    {"ΚΆΔΟΣ", MH_ROLE_TRASH},
    {"ゴミ箱", MH_ROLE_TRASH},
    {"削除済みアイテム", MH_ROLE_TRASH},
    {"已删除邮件", MH_ROLE_TRASH},
    {"刪除的郵件", MH_ROLE_TRASH},
    {"휴지통", MH_ROLE_TRASH},
    {"العناصر المحذوفة", MH_ROLE_TRASH},
    {"פריטים שנמחקו", MH_ROLE_TRASH},
    {"Junk", MH_ROLE_JUNK},
    {"Junk E-mail", MH_ROLE_JUNK},
    {"Junk-E-Mail", MH_ROLE_JUNK},
    {"SPAM", MH_ROLE_JUNK},
    {"Spamverdacht", MH_ROLE_JUNK},
    {"Courrier indésirable", MH_ROLE_JUNK},
    {"Correo no deseado", MH_ROLE_JUNK},
    {"Posta indesiderata", MH_ROLE_JUNK},
    {"Lixo Eletrônico", MH_ROLE_JUNK},
    {"Ongewenste e-mail", MH_ROLE_JUNK},
    {"Skräppost", MH_ROLE_JUNK},
    {"Uønsket e-mail", MH_ROLE_JUNK},
    {"UØNSKET E-MAIL", MH_ROLE_JUNK},
    {"Søppelpost", MH_ROLE_JUNK},
    {"Roskaposti", MH_ROLE_JUNK},
    {"Wiadomości-śmieci", MH_ROLE_JUNK},
    {"Nevyžádaná pošta", MH_ROLE_JUNK},
    {"Levélszemét", MH_ROLE_JUNK},
    {"E-mail nedorit", MH_ROLE_JUNK},
    {"Önemsiz E-posta", MH_ROLE_JUNK},
    {"Спам", MH_ROLE_JUNK},
    {"Нежелательная почта", MH_ROLE_JUNK},
    {"Небажана пошта", MH_ROLE_JUNK},
    {"Ανεπιθύμητη αλληλογραφία", MH_ROLE_JUNK},
    {"迷惑メール", MH_ROLE_JUNK},
    {"垃圾邮件", MH_ROLE_JUNK},
    {"垃圾郵件", MH_ROLE_JUNK},
    {"스팸메일함", MH_ROLE_JUNK},
    {"البريد غير الهام", MH_ROLE_JUNK},
    {"דואר זבל", MH_ROLE_JUNK},
    {"Archive", MH_ROLE_ARCHIVE},
    {"Archives", MH_ROLE_ARCHIVE},
    {"Archiv", MH_ROLE_ARCHIVE},
    {"Archivo", MH_ROLE_ARCHIVE},
    {"Archivio", MH_ROLE_ARCHIVE},
    {"Arquivo Morto", MH_ROLE_ARCHIVE},
    {"Archief", MH_ROLE_ARCHIVE},
    {"Arkiv", MH_ROLE_ARCHIVE},
    {"Arkisto", MH_ROLE_ARCHIVE},
    {"Archiwum", MH_ROLE_ARCHIVE},
    {"Archívum", MH_ROLE_ARCHIVE},
    {"Arhivă", MH_ROLE_ARCHIVE},
    {"Arşiv", MH_ROLE_ARCHIVE},
    {"ARŞİV", MH_ROLE_ARCHIVE},
    {"Архив", MH_ROLE_ARCHIVE},
    {"Архів", MH_ROLE_ARCHIVE},
    {"АРХІВ", MH_ROLE_ARCHIVE},
    {"Αρχειοθήκη", MH_ROLE_ARCHIVE},
    {"アーカイブ", MH_ROLE_ARCHIVE},
    {"归档", MH_ROLE_ARCHIVE},
    {"封存", MH_ROLE_ARCHIVE},
    {"보관함", MH_ROLE_ARCHIVE},
    {"الأرشيف", MH_ROLE_ARCHIVE},
    {"ארכיון", MH_ROLE_ARCHIVE},
    /* no role */
    {"", MH_ROLE_NONE},
    {"INBOX", MH_ROLE_NONE},
    {"Sent2", MH_ROLE_NONE},
    {"Sen", MH_ROLE_NONE},
    {"Sent/Items", MH_ROLE_NONE},
    {"Presents", MH_ROLE_NONE},
    {"Outbox", MH_ROLE_NONE},
    {"Postausgang", MH_ROLE_NONE},
    {"Concept", MH_ROLE_NONE},
    {"Archivos", MH_ROLE_NONE},
    {"Notes", MH_ROLE_NONE},
    {"\xff\xfe", MH_ROLE_NONE},
    {"Entw\xfcrfe", MH_ROLE_NONE},
};

Test(mail_role, guess)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(guesses); i++)
        cr_expect_eq(mh_role_guess(guesses[i].name), guesses[i].role, "%s: %s", guesses[i].name,
                     mh_role_name(mh_role_guess(guesses[i].name)));
}

/* The tables: in order of roles, every name valid, found as its own role, and listed once. */
Test(mail_role, tables)
{
    size_t names = 0;
    for (const struct mh_role_names *t = mh_role_table; t->names; t++) {
        if (t != mh_role_table)
            cr_expect_gt(t->role, t[-1].role);
        for (const char *const *name = t->names; *name; name++) {
            cr_expect(mh_utf8_valid(*name, strlen(*name)) && **name, "%s", *name);
            cr_expect_eq(mh_role_guess(*name), t->role, "%s is in another list too", *name);
            for (const char *const *other = t->names; other < name; other++)
                cr_expect_str_neq(*other, *name);
            names++;
        }
    }
    cr_expect_gt(names, 500u);
}

static const struct {
    enum mh_role role;
    const char *name, *attr, *create;
    bool is_guessed; /* from CREATE */
} words[] = {
    {MH_ROLE_NONE, "", NULL, "", false},
    {MH_ROLE_INBOX, "inbox", NULL, "INBOX", false},
    {MH_ROLE_ALL, "all", "\\All", "All Mail", false},
    {MH_ROLE_ARCHIVE, "archive", "\\Archive", "Archive", true},
    {MH_ROLE_DRAFTS, "drafts", "\\Drafts", "Drafts", true},
    {MH_ROLE_FLAGGED, "flagged", "\\Flagged", "Flagged", false},
    {MH_ROLE_JUNK, "junk", "\\Junk", "Junk", true},
    {MH_ROLE_SENT, "sent", "\\Sent", "Sent", true},
    {MH_ROLE_TRASH, "trash", "\\Trash", "Trash", true},
    {MH_ROLE_IMPORTANT, "important", "\\Important", "Important", false},
};

Test(mail_role, words)
{
    cr_assert_eq(MH_ARRAY_LEN(words), (size_t)MH_ROLE_COUNT);
    for (size_t i = 0; i < MH_ARRAY_LEN(words); i++) {
        enum mh_role role = words[i].role;
        cr_expect_str_eq(mh_role_name(role), words[i].name);
        cr_expect_str_eq(mh_role_default_name(role), words[i].create);
        cr_expect_eq(mh_role_parse(words[i].name, strlen(words[i].name)), role);
        if (!words[i].attr) {
            cr_expect_null(mh_role_attr(role));
            continue;
        }
        cr_expect_str_eq(mh_role_attr(role), words[i].attr);
        cr_expect_eq(mh_role_parse(words[i].attr, strlen(words[i].attr)), role);
    }
    cr_expect_eq(mh_role_parse("\\SENT", 5), MH_ROLE_SENT);
    cr_expect_eq(mh_role_parse("\\Sentx", 5), MH_ROLE_SENT, "the length counts");
    cr_expect_eq(mh_role_parse("\\Sentx", 6), MH_ROLE_NONE);
    cr_expect_eq(mh_role_parse("\\HasNoChildren", 14), MH_ROLE_NONE);
    /* What a target without the role gets is recognised again, where names are guessed at all. */
    for (size_t i = 0; i < MH_ARRAY_LEN(words); i++)
        cr_expect_eq(mh_role_guess(words[i].create),
                     words[i].is_guessed ? words[i].role : MH_ROLE_NONE, "%s", words[i].create);
}
