sql () 
{ 
    python3 - "$@" <<'E'
import sqlite3,sys
c=sqlite3.connect('mlflow.db')
for s in sys.argv[1:]:
    cur=c.execute(s); print('  sql:',s[:160],'->',cur.rowcount if not s.lower().startswith('select') else cur.fetchall())
c.commit()
E

}
