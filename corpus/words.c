/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * words.c: the word lists. The right column of a pair is the left one in the list's legacy charset
 * (`iconv -f utf-8 -t CHARSET`), written as octal escapes because they end after three digits.
 */
#include "text.h"

/* One word is not worth a line of its own, and clang-format would give it one. */
/* clang-format off */

#define SAME(word) {word, word}

static const struct mhc_word en_us_ascii[] = {
    SAME("the"), SAME("and"), SAME("please"), SAME("find"), SAME("attached"), SAME("report"),
    SAME("for"), SAME("next"), SAME("week"), SAME("meeting"), SAME("with"), SAME("customer"),
    SAME("about"), SAME("new"), SAME("server"), SAME("we"), SAME("have"), SAME("moved"),
    SAME("your"), SAME("mailbox"), SAME("to"), SAME("another"), SAME("system"), SAME("so"),
    SAME("check"), SAME("whether"), SAME("everything"), SAME("arrived"), SAME("before"),
    SAME("Friday"), SAME("evening"), SAME("thanks"), SAME("best"), SAME("regards"), SAME("as"),
    SAME("discussed"), SAME("on"), SAME("phone"), SAME("our"), SAME("offer"), SAME("includes"),
    SAME("delivery"), SAME("invoice"), SAME("number"), SAME("contract"), SAME("signed"),
    SAME("budget"), SAME("approved"), SAME("project"), SAME("plan"), SAME("review"),
    SAME("draft"), SAME("version"), SAME("latest"), SAME("figures"), SAME("quarter"),
    SAME("sales"), SAME("numbers"), SAME("look"), SAME("good"), SAME("but"), SAME("costs"),
    SAME("rise"), SAME("again"), SAME("team"), SAME("will"), SAME("travel"), SAME("by"),
    SAME("train"), SAME("hotel"), SAME("booked"), SAME("ticket"), SAME("confirmed"),
    SAME("agenda"), SAME("minutes"), SAME("office"), SAME("printer"), SAME("broken"),
    SAME("network"), SAME("slow"), SAME("since"), SAME("morning"), SAME("update"),
    SAME("restart"), SAME("required"), SAME("password"), SAME("expires"), SAME("soon"),
    SAME("change"), SAME("it"), SAME("today"), SAME("order"), SAME("shipped"), SAME("parcel"),
    SAME("tracking"), SAME("reminder"), SAME("payment"), SAME("due"), SAME("account"),
    SAME("statement"), SAME("colleague"), SAME("holiday"), SAME("replacement"), SAME("call"),
    SAME("back"), SAME("later"), SAME("question"), SAME("answer"), SAME("solution"),
    SAME("problem"), SAME("fixed"), SAME("test"), SAME("passed"), SAME("release"),
    SAME("deployed"), SAME("backup"), SAME("restored"), SAME("archive"), SAME("folder"),
    SAME("message"), SAME("sender"), SAME("receiver"), SAME("subject"), SAME("date"),
    SAME("time"), SAME("zone"), SAME("list"), SAME("user"), SAME("group"), SAME("right"),
    SAME("access"), SAME("shared"), SAME("calendar"), SAME("contact"), SAME("note"),
    SAME("task"), SAME("deadline"), SAME("extended"), SAME("until"), SAME("Monday"),
    SAME("coffee"), SAME("lunch")
};

static const struct mhc_word de_iso_8859_1[] = {
    {"Grüße", "Gr\374\337e"}, SAME("aus"), {"München", "M\374nchen"}, SAME("bitte"),
    {"prüfen", "pr\374fen"}, SAME("Sie"), SAME("die"), {"Übersicht", "\334bersicht"},
    {"für", "f\374r"}, {"nächste", "n\344chste"}, SAME("Woche"), SAME("Angebot"),
    {"geändert", "ge\344ndert"}, SAME("Rechnung"), {"über", "\374ber"},
    {"größere", "gr\366\337ere"}, SAME("Menge"), {"Schöne", "Sch\366ne"},
    {"Straße", "Stra\337e"}, {"Büro", "B\374ro"}, SAME("geschlossen"),
    {"Rückmeldung", "R\374ckmeldung"}, {"wäre", "w\344re"}, {"schön", "sch\366n"},
    {"Verträge", "Vertr\344ge"}, {"müssen", "m\374ssen"}, SAME("unterschrieben"),
    SAME("werden"), {"Änderung", "\304nderung"}, {"Prüfung", "Pr\374fung"},
    {"läuft", "l\344uft"}, SAME("Termin"), {"bestätigt", "best\344tigt"},
    {"Kündigung", "K\374ndigung"}, {"Anhänge", "Anh\344nge"}, {"öffnen", "\366ffnen"},
    {"Lösung", "L\366sung"}, SAME("gefunden"), {"Verzögerung", "Verz\366gerung"},
    {"möglich", "m\366glich"}, SAME("und"), SAME("der"), SAME("das"), SAME("mit"), SAME("von"),
    SAME("zu"), SAME("nicht"), SAME("auch"), SAME("noch"), SAME("heute"), SAME("Besprechung"),
    SAME("Kunde"), SAME("Lieferung"), {"Außerdem", "Au\337erdem"}, {"Maßnahme", "Ma\337nahme"},
    {"Gespräch", "Gespr\344ch"}, {"früh", "fr\374h"}, {"spät", "sp\344t"},
    {"Zähler", "Z\344hler"}, {"Wärme", "W\344rme"}, {"Fußnote", "Fu\337note"},
    {"ähnlich", "\344hnlich"}, {"Gebühr", "Geb\374hr"}, {"zurück", "zur\374ck"},
    {"Schlüssel", "Schl\374ssel"}, SAME("Drucker"), SAME("Ordner"), SAME("Postfach"),
    SAME("Umzug")
};

static const struct mhc_word fr_iso_8859_15[] = {
    SAME("Bonjour"), SAME("voici"), SAME("le"), {"relevé", "relev\351"},
    {"détaillé", "d\351taill\351"}, SAME("de"), SAME("la"), {"réunion", "r\351union"},
    {"prévue", "pr\351vue"}, {"à", "\340"}, {"Orléans", "Orl\351ans"},
    {"après-midi", "apr\350s-midi"}, {"début", "d\351but"}, {"décembre", "d\351cembre"},
    {"cœur", "c\275ur"}, {"œuvre", "\275uvre"}, {"sœur", "s\275ur"}, {"Noël", "No\353l"},
    {"déjà", "d\351j\340"}, {"reçu", "re\347u"}, {"très", "tr\350s"}, {"bientôt", "bient\364t"},
    SAME("facture"), {"réglée", "r\351gl\351e"}, SAME("montant"), {"250€", "250\244"},
    {"élevé", "\351lev\351"}, {"où", "o\371"}, {"être", "\352tre"}, {"forêt", "for\352t"},
    {"château", "ch\342teau"}, {"garçon", "gar\347on"}, {"leçon", "le\347on"},
    {"français", "fran\347ais"}, {"société", "soci\351t\351"}, {"générale", "g\351n\351rale"},
    {"numéro", "num\351ro"}, SAME("dossier"), {"équipe", "\351quipe"},
    {"présente", "pr\351sente"}, {"modèle", "mod\350le"}, {"validé", "valid\351"},
    {"délai", "d\351lai"}, {"prolongé", "prolong\351"}, {"jusqu'à", "jusqu'\340"},
    SAME("vendredi"), SAME("matin"), SAME("merci"), {"répondre", "r\351pondre"}, SAME("avant"),
    SAME("midi"), {"pièce", "pi\350ce"}, SAME("jointe"), {"côté", "c\364t\351"},
    {"hôtel", "h\364tel"}, {"île", "\356le"}, {"août", "ao\373t"},
    {"référence", "r\351f\351rence"}, {"créée", "cr\351\351e"}, {"supprimée", "supprim\351e"},
    {"boîte", "bo\356te"}, SAME("aux"), SAME("lettres"), {"déménagement", "d\351m\351nagement"},
    SAME("serveur"), {"clé", "cl\351"}, {"accès", "acc\350s"}, {"réseau", "r\351seau"}
};

static const struct mhc_word es_windows_1252[] = {
    {"Señor", "Se\361or"}, {"García", "Garc\355a"}, {"mañana", "ma\361ana"},
    {"reunión", "reuni\363n"}, SAME("con"), SAME("el"), SAME("cliente"), {"año", "a\361o"},
    {"próximo", "pr\363ximo"}, {"información", "informaci\363n"}, SAME("sobre"), SAME("precio"),
    {"40€", "40\200"}, {"“oferta”", "\223oferta\224"}, {"válida", "v\341lida"},
    {"según", "seg\372n"}, {"condición", "condici\363n"}, {"días", "d\355as"},
    SAME("laborables"), {"envío", "env\355o"}, {"número", "n\372mero"},
    {"teléfono", "tel\351fono"}, {"dirección", "direcci\363n"}, {"gestión", "gesti\363n"},
    {"común", "com\372n"}, {"sólo", "s\363lo"}, {"después", "despu\351s"},
    {"también", "tambi\351n"}, {"ningún", "ning\372n"}, {"título", "t\355tulo"},
    {"página", "p\341gina"}, {"línea", "l\355nea"}, {"años", "a\361os"},
    {"compañía", "compa\361\355a"}, {"españa", "espa\361a"}, {"niño", "ni\361o"},
    {"corazón", "coraz\363n"}, {"canción", "canci\363n"}, {"último", "\372ltimo"},
    {"código", "c\363digo"}, {"rápido", "r\341pido"}, {"fácil", "f\341cil"},
    {"difícil", "dif\355cil"}, {"–", "\226"}, {"pregunta…", "pregunta\205"}, SAME("respuesta"),
    SAME("gracias"), SAME("saludos"), SAME("cordiales"), SAME("adjunto"), SAME("fichero"),
    {"¿cuándo", "\277cu\341ndo"}, {"llegará?", "llegar\341?"}, {"¡perfecto!", "\241perfecto!"},
    SAME("factura"), SAME("pendiente"), SAME("pago"), SAME("recibido"), {"sesión", "sesi\363n"},
    {"técnica", "t\351cnica"}
};

static const struct mhc_word pl_iso_8859_2[] = {
    {"Dzień", "Dzie\361"}, SAME("dobry"), {"proszę", "prosz\352"}, SAME("o"),
    {"przesłanie", "przes\263anie"}, {"załącznika", "za\263\261cznika"},
    {"żółta", "\277\363\263ta"}, {"łódź", "\263\363d\274"}, {"źródło", "\274r\363d\263o"},
    {"światło", "\266wiat\263o"}, {"książka", "ksi\261\277ka"},
    {"wiadomość", "wiadomo\266\346"}, {"odpowiedź", "odpowied\274"}, {"późno", "p\363\274no"},
    {"być", "by\346"}, {"może", "mo\277e"}, {"spółka", "sp\363\263ka"},
    {"województwo", "wojew\363dztwo"}, {"łącznie", "\263\261cznie"},
    {"świąteczny", "\266wi\261teczny"}, {"gość", "go\266\346"}, {"mróz", "mr\363z"},
    {"ćwiczenie", "\346wiczenie"}, {"ósmy", "\363smy"}, {"następny", "nast\352pny"},
    {"tydzień", "tydzie\361"}, SAME("spotkanie"), {"zespołu", "zespo\263u"}, SAME("umowa"),
    {"płatność", "p\263atno\266\346"}, {"należność", "nale\277no\266\346"},
    {"zamówienie", "zam\363wienie"}, {"dostępność", "dost\352pno\266\346"}, SAME("serwera"),
    {"błąd", "b\263\261d"}, {"usunięty", "usuni\352ty"}, SAME("skrzynka"),
    {"użytkownik", "u\277ytkownik"}, {"hasło", "has\263o"}, {"zmień", "zmie\361"},
    {"już", "ju\277"}, SAME("teraz"), {"dziękuję", "dzi\352kuj\352"}, SAME("pozdrawiam"),
    SAME("serdecznie")
};

static const struct mhc_word ru_koi8_r[] = {
    {"Здравствуйте", "\372\304\322\301\327\323\324\327\325\312\324\305"},
    {"прошу", "\320\322\317\333\325"}, {"проверить", "\320\322\317\327\305\322\311\324\330"},
    {"новый", "\316\317\327\331\312"}, {"договор", "\304\317\307\317\327\317\322"},
    {"на", "\316\301"}, {"следующей", "\323\314\305\304\325\300\335\305\312"},
    {"неделе", "\316\305\304\305\314\305"}, {"встреча", "\327\323\324\322\305\336\301"},
    {"перенесена", "\320\305\322\305\316\305\323\305\316\301"},
    {"отчёт", "\317\324\336\243\324"}, {"готов", "\307\317\324\317\327"},
    {"письмо", "\320\311\323\330\315\317"},
    {"отправлено", "\317\324\320\322\301\327\314\305\316\317"},
    {"получено", "\320\317\314\325\336\305\316\317"},
    {"вложение", "\327\314\317\326\305\316\311\305"}, {"счёт", "\323\336\243\324"},
    {"оплата", "\317\320\314\301\324\301"}, {"сервер", "\323\305\322\327\305\322"},
    {"почта", "\320\317\336\324\301"}, {"ящик", "\321\335\311\313"},
    {"перенос", "\320\305\322\305\316\317\323"}, {"данных", "\304\301\316\316\331\310"},
    {"завершён", "\332\301\327\305\322\333\243\316"}, {"ошибка", "\317\333\311\302\313\301"},
    {"исправлена", "\311\323\320\322\301\327\314\305\316\301"},
    {"сегодня", "\323\305\307\317\304\316\321"}, {"завтра", "\332\301\327\324\322\301"},
    {"вчера", "\327\336\305\322\301"}, {"спасибо", "\323\320\301\323\311\302\317"},
    {"за", "\332\301"}, {"помощь", "\320\317\315\317\335\330"},
    {"уважением", "\325\327\301\326\305\316\311\305\315"},
    {"коллеги", "\313\317\314\314\305\307\311"}, {"проект", "\320\322\317\305\313\324"},
    {"сроки", "\323\322\317\313\311"}, {"бюджет", "\302\300\304\326\305\324"},
    {"утверждён", "\325\324\327\305\322\326\304\243\316"},
    {"поставка", "\320\317\323\324\301\327\313\301"},
    {"задержана", "\332\301\304\305\322\326\301\316\301"},
    {"телефон", "\324\305\314\305\306\317\316"}, {"адрес", "\301\304\322\305\323"},
    {"город", "\307\317\322\317\304"}, {"улица", "\325\314\311\303\301"},
    {"поезд", "\320\317\305\332\304"}, {"билет", "\302\311\314\305\324"},
    {"время", "\327\322\305\315\321"}, {"работы", "\322\301\302\317\324\331"},
    {"склад", "\323\313\314\301\304"}
};

static const struct mhc_word ja_shift_jis[] = {
    {"会議", "\211\357\213c"}, {"資料", "\216\221\227\277"}, {"添付", "\223Y\225t"},
    {"確認", "\212m\224F"}, {"お願いします", "\202\250\212\350\202\242\202\265\202\334\202\267"},
    {"来週", "\227\210\217T"}, {"東京", "\223\214\213\236"}, {"大阪", "\221\345\215\343"},
    {"契約書", "\214_\226\361\217\221"}, {"見積", "\214\251\220\317"},
    {"請求書", "\220\277\213\201\217\221"}, {"送付", "\221\227\225t"},
    {"ご連絡", "\202\262\230A\227\215"},
    {"ありがとうございます", "\202\240\202\350\202\252\202\306\202\244\202\262\202\264\202\242\202\334\202\267"},
    {"担当者", "\222S\223\226\216\322"}, {"変更", "\225\317\215X"}, {"予定", "\227\\\222\350"},
    {"日程", "\223\372\222\366"}, {"調整", "\222\262\220\256"}, {"サーバー", "\203T\201[\203o\201["},
    {"メール", "\203\201\201[\203\213"}, {"移行", "\210\332\215s"}, {"完了", "\212\256\227\271"},
    {"障害", "\217\341\212Q"}, {"復旧", "\225\234\213\214"}, {"報告", "\225\361\215\220"},
    {"本日", "\226{\223\372"}, {"明日", "\226\276\223\372"}, {"出張", "\217o\222\243"},
    {"電車", "\223d\216\324"}, {"電話番号", "\223d\230b\224\324\215\206"}, {"住所", "\217Z\217\212"},
    {"商品", "\217\244\225i"}, {"発送", "\224\255\221\227"}, {"在庫", "\215\335\214\311"},
    {"株式会社", "\212\224\216\256\211\357\216\320"}, {"佐藤", "\215\262\223\241"},
    {"鈴木", "\227\351\226\330"}, {"様", "\227l"}, {"より", "\202\346\202\350"}, {"の", "\202\314"},
    {"について", "\202\311\202\302\202\242\202\304"}, {"は", "\202\315"}, {"です", "\202\305\202\267"},
    {"が", "\202\252"}
};

static const struct mhc_word ja_iso_2022_jp[] = {
    {"会議", "\033$B2q5D\033(B"}, {"資料", "\033$B;qNA\033(B"}, {"添付", "\033$BE:IU\033(B"},
    {"確認", "\033$B3NG'\033(B"}, {"お願いします", "\033$B$*4j$$$7$^$9\033(B"},
    {"来週", "\033$BMh=5\033(B"}, {"東京", "\033$BEl5~\033(B"}, {"大阪", "\033$BBg:e\033(B"},
    {"契約書", "\033$B7@Ls=q\033(B"}, {"見積", "\033$B8+@Q\033(B"}, {"請求書", "\033$B@A5a=q\033(B"},
    {"送付", "\033$BAwIU\033(B"}, {"ご連絡", "\033$B$4O\"Mm\033(B"},
    {"ありがとうございます", "\033$B$\"$j$,$H$&$4$6$$$^$9\033(B"}, {"担当者", "\033$BC4Ev<T\033(B"},
    {"変更", "\033$BJQ99\033(B"}, {"予定", "\033$BM=Dj\033(B"}, {"日程", "\033$BF|Dx\033(B"},
    {"調整", "\033$BD4@0\033(B"}, {"メール", "\033$B%a!<%k\033(B"}, {"移行", "\033$B0\\9T\033(B"},
    {"完了", "\033$B40N;\033(B"}, {"障害", "\033$B>c32\033(B"}, {"復旧", "\033$BI|5l\033(B"},
    {"報告", "\033$BJs9p\033(B"}, {"本日", "\033$BK\\F|\033(B"}, {"明日", "\033$BL@F|\033(B"},
    {"出張", "\033$B=PD%\033(B"}, {"電車", "\033$BEE<V\033(B"}, {"電話番号", "\033$BEEOCHV9f\033(B"},
    {"住所", "\033$B=;=j\033(B"}, {"商品", "\033$B>&IJ\033(B"}, {"発送", "\033$BH/Aw\033(B"},
    {"在庫", "\033$B:_8K\033(B"}, {"株式会社", "\033$B3t<02q<R\033(B"}, {"高橋", "\033$B9b66\033(B"},
    {"田中", "\033$BEDCf\033(B"}, {"様", "\033$BMM\033(B"}, {"より", "\033$B$h$j\033(B"},
    {"の", "\033$B$N\033(B"}, {"について", "\033$B$K$D$$$F\033(B"}, {"は", "\033$B$O\033(B"},
    {"です", "\033$B$G$9\033(B"}, {"が", "\033$B$,\033(B"}
};

static const struct mhc_word zh_cn_gb18030[] = {
    {"会议", "\273\341\322\351"}, {"资料", "\327\312\301\317"}, {"附件", "\270\275\274\376"},
    {"请查收", "\307\353\262\351\312\325"}, {"下周", "\317\302\326\334"}, {"北京", "\261\261\276\251"},
    {"上海", "\311\317\272\243"}, {"合同", "\272\317\315\254"}, {"报价", "\261\250\274\333"},
    {"发票", "\267\242\306\261"}, {"已发送", "\322\321\267\242\313\315"}, {"谢谢", "\320\273\320\273"},
    {"负责人", "\270\272\324\360\310\313"}, {"变更", "\261\344\270\374"}, {"日程", "\310\325\263\314"},
    {"安排", "\260\262\305\305"}, {"服务器", "\267\376\316\361\306\367"}, {"邮件", "\323\312\274\376"},
    {"迁移", "\307\250\322\306"}, {"完成", "\315\352\263\311"}, {"故障", "\271\312\325\317"},
    {"恢复", "\273\326\270\264"}, {"报告", "\261\250\270\346"}, {"今天", "\275\361\314\354"},
    {"明天", "\303\367\314\354"}, {"出差", "\263\366\262\356"}, {"火车", "\273\360\263\265"},
    {"电话号码", "\265\347\273\260\272\305\302\353"}, {"地址", "\265\330\326\267"},
    {"产品", "\262\372\306\267"}, {"发货", "\267\242\273\365"}, {"库存", "\277\342\264\346"},
    {"有限公司", "\323\320\317\336\271\253\313\276"}, {"张伟", "\325\305\316\260"},
    {"王芳", "\315\365\267\274"}, {"的", "\265\304"}, {"和", "\272\315"}, {"是", "\312\307"},
    {"在", "\324\332"}, {"我们", "\316\322\303\307"}, {"你们", "\304\343\303\307"},
    {"客户", "\277\315\273\247"}, {"项目", "\317\356\304\277"}, {"预算", "\324\244\313\343"},
    {"批准", "\305\372\327\274"}, {"龘", "\375\223"}, {"㐂", "\2019\3571"}
};

static const struct mhc_word zh_tw_big5[] = {
    {"會議", "\267|\304\263"}, {"資料", "\270\352\256\306"}, {"附件", "\252\376\245\363"},
    {"請查收", "\275\320\254d\246\254"}, {"下週", "\244U\266g"}, {"台北", "\245x\245_"},
    {"高雄", "\260\252\266\257"}, {"合約", "\246X\254\371"}, {"報價", "\263\370\273\371"},
    {"發票", "\265o\262\274"}, {"已寄出", "\244w\261H\245X"}, {"謝謝", "\301\302\301\302"},
    {"負責人", "\255t\263d\244H"}, {"變更", "\305\334\247\363"}, {"日程", "\244\351\265{"},
    {"安排", "\246w\261\306"}, {"伺服器", "\246\370\252A\276\271"}, {"郵件", "\266l\245\363"},
    {"遷移", "\276E\262\276"}, {"完成", "\247\271\246\250"}, {"故障", "\254G\273\331"},
    {"恢復", "\253\354\264_"}, {"報告", "\263\370\247i"}, {"今天", "\244\265\244\321"},
    {"明天", "\251\372\244\321"}, {"出差", "\245X\256t"}, {"火車", "\244\365\250\256"},
    {"電話號碼", "\271q\270\334\270\271\275X"}, {"地址", "\246a\247}"}, {"產品", "\262\243\253~"},
    {"出貨", "\245X\263f"}, {"庫存", "\256w\246s"}, {"有限公司", "\246\263\255\255\244\275\245q"},
    {"陳", "\263\257"}, {"林", "\252L"}, {"的", "\252\272"}, {"和", "\251M"}, {"是", "\254O"},
    {"在", "\246b"}, {"我們", "\247\332\255\314"}, {"客戶", "\253\310\244\341"},
    {"專案", "\261M\256\327"}, {"預算", "\271w\272\342"}, {"批准", "\247\345\255\343"},
    {"許功蓋", "\263\\\245\\\273\\"}
};

static const struct mhc_word ko_euc_kr[] = {
    {"안녕하세요", "\276\310\263\347\307\317\274\274\277\344"}, {"회의", "\310\270\300\307"},
    {"자료를", "\300\332\267\341\270\246"}, {"첨부합니다", "\303\267\272\316\307\325\264\317\264\331"},
    {"확인", "\310\256\300\316"}, {"부탁드립니다", "\272\316\305\271\265\345\270\263\264\317\264\331"},
    {"다음", "\264\331\300\275"}, {"주", "\301\326"}, {"서울", "\274\255\277\357"},
    {"부산", "\272\316\273\352"}, {"계약서", "\260\350\276\340\274\255"},
    {"견적서", "\260\337\300\373\274\255"}, {"청구서", "\303\273\261\270\274\255"},
    {"발송", "\271\337\274\333"}, {"감사합니다", "\260\250\273\347\307\325\264\317\264\331"},
    {"담당자", "\264\343\264\347\300\332"}, {"변경", "\272\257\260\346"}, {"일정", "\300\317\301\244"},
    {"조정", "\301\266\301\244"}, {"서버", "\274\255\271\366"}, {"메일", "\270\336\300\317"},
    {"이전", "\300\314\300\374"}, {"완료", "\277\317\267\341"}, {"장애", "\300\345\276\326"},
    {"복구", "\272\271\261\270"}, {"보고서", "\272\270\260\355\274\255"}, {"오늘", "\277\300\264\303"},
    {"내일", "\263\273\300\317"}, {"출장", "\303\342\300\345"}, {"기차", "\261\342\302\367"},
    {"전화번호", "\300\374\310\255\271\370\310\243"}, {"주소", "\301\326\274\322"},
    {"상품", "\273\363\307\260"}, {"배송", "\271\350\274\333"}, {"재고", "\300\347\260\355"},
    {"주식회사", "\301\326\275\304\310\270\273\347"}, {"김철수", "\261\350\303\266\274\366"},
    {"이영희", "\300\314\277\265\310\361"}, {"고객", "\260\355\260\264"}, {"예산", "\277\271\273\352"},
    {"승인", "\275\302\300\316"}
};

static const struct mhc_word el_utf_8[] = {
    SAME("Καλημέρα"), SAME("σας"), SAME("στέλνω"), SAME("την"), SAME("αναφορά"), SAME("για"),
    SAME("επόμενη"), SAME("εβδομάδα"), SAME("συνάντηση"), SAME("πελάτης"), SAME("τιμολόγιο"),
    SAME("συμβόλαιο"), SAME("ευχαριστώ"), SAME("πολύ"), SAME("διακομιστής"), SAME("μήνυμα"),
    SAME("αρχείο"), SAME("αλλαγή"), SAME("ημερομηνία"), SAME("σήμερα"), SAME("αύριο"),
    SAME("πρόβλημα"), SAME("λύθηκε")
};

static const struct mhc_word ar_utf_8[] = {
    SAME("السلام"), SAME("عليكم"), SAME("يرجى"), SAME("مراجعة"), SAME("التقرير"),
    SAME("المرفق"), SAME("قبل"), SAME("الاجتماع"), SAME("القادم"), SAME("شكرا"), SAME("جزيلا"),
    SAME("العميل"), SAME("الفاتورة"), SAME("العقد"), SAME("الخادم"), SAME("البريد"),
    SAME("اليوم"), SAME("غدا"), SAME("الميزانية"), SAME("المشروع")
};

static const struct mhc_word hi_utf_8[] = {
    SAME("नमस्ते"), SAME("कृपया"), SAME("रिपोर्ट"), SAME("देखें"), SAME("अगले"), SAME("सप्ताह"),
    SAME("बैठक"), SAME("ग्राहक"), SAME("अनुबंध"), SAME("भुगतान"), SAME("धन्यवाद"),
    SAME("सर्वर"), SAME("संदेश"), SAME("आज"), SAME("कल"), SAME("परियोजना")
};

static const struct mhc_word he_utf_8[] = {
    SAME("שלום"), SAME("מצורף"), SAME("הדוח"), SAME("לפגישה"), SAME("בשבוע"), SAME("הבא"),
    SAME("לקוח"), SAME("חשבונית"), SAME("חוזה"), SAME("תודה"), SAME("רבה"), SAME("שרת"),
    SAME("דואר"), SAME("היום"), SAME("מחר"), SAME("פרויקט")
};

const struct mhc_language mhc_languages[] = {
    {"en", "us-ascii", en_us_ascii, MHC_COUNT(en_us_ascii), " ", {".", "."}},
    {"de", "iso-8859-1", de_iso_8859_1, MHC_COUNT(de_iso_8859_1), " ", {".", "."}},
    {"fr", "iso-8859-15", fr_iso_8859_15, MHC_COUNT(fr_iso_8859_15), " ", {".", "."}},
    {"es", "windows-1252", es_windows_1252, MHC_COUNT(es_windows_1252), " ", {".", "."}},
    {"pl", "iso-8859-2", pl_iso_8859_2, MHC_COUNT(pl_iso_8859_2), " ", {".", "."}},
    {"ru", "koi8-r", ru_koi8_r, MHC_COUNT(ru_koi8_r), " ", {".", "."}},
    {"ja", "shift_jis", ja_shift_jis, MHC_COUNT(ja_shift_jis), "", {"。", "\201B"}},
    {"ja", "iso-2022-jp", ja_iso_2022_jp, MHC_COUNT(ja_iso_2022_jp), "", {"。", "\033$B!#\033(B"}},
    {"zh-CN", "gb18030", zh_cn_gb18030, MHC_COUNT(zh_cn_gb18030), "", {"。", "\241\243"}},
    {"zh-TW", "big5", zh_tw_big5, MHC_COUNT(zh_tw_big5), "", {"。", "\241C"}},
    {"ko", "euc-kr", ko_euc_kr, MHC_COUNT(ko_euc_kr), " ", {".", "."}},
    {"el", "utf-8", el_utf_8, MHC_COUNT(el_utf_8), " ", {".", "."}},
    {"ar", "utf-8", ar_utf_8, MHC_COUNT(ar_utf_8), " ", {".", "."}},
    {"hi", "utf-8", hi_utf_8, MHC_COUNT(hi_utf_8), " ", {"।", "।"}},
    {"he", "utf-8", he_utf_8, MHC_COUNT(he_utf_8), " ", {".", "."}},
};
const size_t mhc_language_count = MHC_COUNT(mhc_languages);
